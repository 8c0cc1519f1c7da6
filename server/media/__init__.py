"""Encoded media: what a frame and its sound become before they travel."""
