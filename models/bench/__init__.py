"""Measures how fast the model is, part by part and as a whole."""
