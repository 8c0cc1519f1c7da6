"""Teaches ``mini`` one person from a video of them speaking."""
