"""Face detection, landmarks, portrait framing and the person mask."""
