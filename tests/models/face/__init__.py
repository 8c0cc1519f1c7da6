"""Tests of ``models.face``."""
