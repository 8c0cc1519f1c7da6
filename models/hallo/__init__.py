"""Hallo: separate audio attention for the whole picture, the face and the lips; motion frames."""
