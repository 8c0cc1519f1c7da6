"""Session: one caller's speech in, paced audio-video frames out."""
