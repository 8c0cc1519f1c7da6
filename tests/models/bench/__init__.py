"""Tests of ``models.bench``."""
