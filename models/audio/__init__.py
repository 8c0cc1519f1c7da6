"""Speech in, features for each video frame out; the same code offline and in a stream."""

SAMPLE_RATE = 16_000
"""Of all speech that a model takes, Hz."""
