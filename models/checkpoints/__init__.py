"""Checkpoints of the published models: their files, strict loading, random ones for benches."""
