"""Tests of ``models.nn``."""
