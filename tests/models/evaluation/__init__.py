"""Tests of ``models.evaluation``."""
