"""How much a head turns in whole frames, as landmarks see it, against what was asked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.evaluation.measure import Signal, amplitude, correlation
from models.face.geometry import fit_similarity
from models.face.landmarks import locate_landmarks
from models.face.portrait import find_person

RIGID = (
    *(10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 33, 133, 362, 263, 234, 454),
    *(67, 297, 103, 332, 54, 284, 21, 251, 162, 389, 127, 356),
)
"""Landmarks that neither mouth nor lids move: forehead, temples, nose and corners of the eyes."""
ANGLES = ("yaw", "pitch", "roll")


class HeadTracker:
    """Measures how a head is turned against its portrait.

    Args:
        portrait: as the frames show it at rest, RGB uint8 [H, W, 3].

    Raises:
        PortraitError: no face is found in it.
    """

    def __init__(self, portrait: NDArray[np.uint8]) -> None:
        self._face = find_person(portrait).face
        self._rest = self._points(portrait)

    def angles(self, frame: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Yaw, pitch and roll [3], radians, signs as of ``models.mini.motion``."""
        _, turn, _ = fit_similarity(self._rest, self._points(frame))
        return angles_of(turn)

    def _points(self, picture: NDArray[np.uint8]) -> NDArray[np.floating]:
        return locate_landmarks(picture, self._face).points[list(RIGID)].astype(np.float64)


def angles_of(turn: NDArray[np.floating]) -> NDArray[np.float64]:
    """Yaw, pitch and roll [3] of a rotation [3, 3] that nods, then looks aside, then tips."""
    yaw = np.arcsin(np.clip(turn[2, 0], -1, 1))
    pitch = np.arctan2(turn[2, 1], turn[2, 2])
    roll = np.arctan2(-turn[1, 0], turn[0, 0])
    return np.array([yaw, pitch, roll])


def compare_heads(seen: Signal, asked: Signal | None) -> dict[str, float]:
    """Standard deviations of head angles [T, 3] and their agreement with what was asked, [T, 3].

    Returns:
        For yaw, pitch and roll: ``head_*_sd`` in degrees, and, NaN where nothing is known to be
        asked: ``head_*_asked_sd``, ``head_*_percent`` (of the asked deviation), and
        ``head_*_slope_percent``, the part of it that is correlated with what was asked: landmarks
        take a moving mouth for a little movement of the head.
    """
    metrics: dict[str, float] = {}
    for k, name in enumerate(ANGLES):
        goal = np.full(len(seen), np.nan) if asked is None else asked[:, k]
        size = 100 * amplitude(seen[:, k], goal)
        metrics |= {
            f"head_{name}_sd": float(np.degrees(seen[:, k].std())),
            f"head_{name}_asked_sd": float(np.degrees(goal.std())),
            f"head_{name}_percent": size,
            f"head_{name}_slope_percent": size * correlation(seen[:, k], goal),
        }
    return metrics
