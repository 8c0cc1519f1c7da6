"""Measures generated video against the truth: one set of tools for both, bars, and pictures."""
