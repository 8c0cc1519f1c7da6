"""Tests of where units and events go."""
