"""Weights that ship with Livehead, each folder with its licence, and how they are checked."""
