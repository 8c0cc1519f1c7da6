"""Tests of teaching one person."""
