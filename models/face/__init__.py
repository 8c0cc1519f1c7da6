"""Pictures in, portraits out: face detection, framing and mask."""
