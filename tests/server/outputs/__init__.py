"""Tests of where frames and events go."""
