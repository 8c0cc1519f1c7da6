"""The clip format: training and evaluation data on disk, read and checked."""
