"""Tests of ``models.audio``."""
