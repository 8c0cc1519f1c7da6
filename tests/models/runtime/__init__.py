"""Tests of ``models.runtime``."""
