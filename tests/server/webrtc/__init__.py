"""Tests of WebRTC calls between two peers of this machine."""
