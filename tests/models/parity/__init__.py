"""Tests of the frame around the stored values of the published models."""
