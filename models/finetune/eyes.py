"""Sees blinks: how unlike its open self the area between the lids looks."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

HALF = (9, 5)
"""Half width and height of the area around an eye's centre, window pixels."""
SLACK, SHUT = 0.1, 0.9
"""One minus the correlation with the open eye: by how much it varies without a blink, and where the
eye is shut; measured on photo puppets, whose blinks are known."""
AROUND = 25
"""Frames before and after, over which an eye is mostly open."""


class LidWatch:
    """Compares the eyes of face windows with those of a neutral one."""

    def __init__(self, neutral: NDArray[np.uint8], eyes_xy: NDArray[np.floating]) -> None:
        """``eyes_xy`` are the centres of both eyes, [4], window pixels."""
        self._centres = np.round(np.reshape(eyes_xy, (2, 2))).astype(int)
        self._open = self._look(neutral)

    def unlike(self, window: NDArray[np.uint8]) -> float:
        """One minus the correlation of the eyes with the open ones."""
        pairs = zip(self._look(window), self._open, strict=True)
        return 1 - float(np.mean([(now * then).mean() for now, then in pairs]))

    def _look(self, window: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
        """Brightness around each eye, of zero mean and unit deviation."""
        grey = cv2.cvtColor(window, cv2.COLOR_RGB2GRAY).astype(np.float64)
        looks = []
        for x, y in self._centres:
            area = grey[y - HALF[1] : y + HALF[1] + 1, x - HALF[0] : x + HALF[0] + 1]
            looks.append((area - area.mean()) / (area.std() + 1e-6))
        return looks


def blinks_of(unlike: NDArray[np.floating]) -> NDArray[np.float32]:
    """How far the eyes are shut, 0 to 1, from what ``LidWatch.unlike`` says of T frames.

    Where the eyes look and how the brows stand changes their look too, but for longer: a blink is
    what rises above the median around it.
    """
    padded = np.pad(
        np.asarray(unlike, np.float64), AROUND, mode="reflect" if len(unlike) > AROUND else "edge"
    )
    usual = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * AROUND + 1), axis=1)
    usual = np.minimum(usual, SHUT - 2 * SLACK)
    shut = (unlike - usual - SLACK) / (SHUT - usual - SLACK)
    return np.clip(shut, 0, 1).astype(np.float32)
