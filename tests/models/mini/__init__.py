"""Tests of ``models.mini``."""
