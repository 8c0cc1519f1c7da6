"""One caller's session: speech in, paced audio-video frames out."""
