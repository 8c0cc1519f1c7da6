"""Tests of encoders, resampling and Opus."""
