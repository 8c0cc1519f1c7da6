"""Sees blinks: how unlike its open self the area between the lids looks."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

HALF = (9, 5)
"""Half width and height of the area around an eye's centre, window pixels."""
OPEN, SHUT = 0.12, 0.9
"""One minus the correlation with the open eye below which a gaze explains it, and at which the eye
is shut; measured on photo puppets, whose blinks are known."""


class LidWatch:
    """Compares the eyes of face windows with those of a neutral one."""

    def __init__(self, neutral: NDArray[np.uint8], eyes_xy: NDArray[np.floating]) -> None:
        """``eyes_xy`` are the centres of both eyes, [4], window pixels."""
        self._centres = np.round(np.reshape(eyes_xy, (2, 2))).astype(int)
        self._open = self._look(neutral)

    def blink(self, window: NDArray[np.uint8]) -> float:
        """How far the eyes are shut, 0 to 1."""
        pairs = zip(self._look(window), self._open, strict=True)
        unlike = 1 - float(np.mean([(now * then).mean() for now, then in pairs]))
        return float(np.clip((unlike - OPEN) / (SHUT - OPEN), 0, 1))

    def _look(self, window: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
        """Brightness around each eye, of zero mean and unit deviation."""
        grey = cv2.cvtColor(window, cv2.COLOR_RGB2GRAY).astype(np.float64)
        looks = []
        for x, y in self._centres:
            area = grey[y - HALF[1] : y + HALF[1] + 1, x - HALF[0] : x + HALF[0] + 1]
            looks.append((area - area.mean()) / (area.std() + 1e-6))
        return looks
