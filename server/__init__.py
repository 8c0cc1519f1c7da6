"""Livehead's real-time server: sessions, clocks and WebRTC; no tensor maths."""
