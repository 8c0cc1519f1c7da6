"""Hallo: audio heard by the whole picture, the face and the lips apart; motion frames."""
