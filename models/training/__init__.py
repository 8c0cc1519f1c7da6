"""Synthetic data and training: everything that reproduces the bundled weights."""
