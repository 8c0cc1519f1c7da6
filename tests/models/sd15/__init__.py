"""Tests of ``models.codec``."""
