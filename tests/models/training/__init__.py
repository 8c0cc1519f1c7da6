"""Tests of the losses, batches and runs of training."""
