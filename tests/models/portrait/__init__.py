"""Tests of ``models.portrait``."""
