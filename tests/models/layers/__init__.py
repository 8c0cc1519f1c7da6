"""Tests of ``models.layers``."""
