"""Tests of ``models.backbones``."""
