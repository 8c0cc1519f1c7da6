"""Tests of ``models.lightning``."""
