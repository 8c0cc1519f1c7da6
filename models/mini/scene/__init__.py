"""From face windows to whole frames: the portrait around the face, the head's turn, breathing."""
