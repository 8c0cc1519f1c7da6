"""Tests of ``models.engine``."""
