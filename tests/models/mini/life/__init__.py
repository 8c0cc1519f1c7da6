"""Tests of models.mini.life."""
