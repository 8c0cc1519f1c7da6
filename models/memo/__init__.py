"""MEMO: a joint audio-visual stream with emotion; linear attention that remembers the past."""
