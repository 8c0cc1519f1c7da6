"""Synthetic talking heads: from licence-free meshes and a speech model to training clips."""
