"""How far apart mouth units ask a portrait's lips to be, in the unit in which landmarks measure it.

The units take the landmarks where they take those of the photo puppets that training clips show.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.evaluation.face_track import LOWER_LIP, UPPER_LIP
from models.face.landmarks import Landmarks
from models.mini.motion import MOUTH_UNITS
from models.mini.scene.skin_motion import limit_close, unit_moves


def asked_gap(mouth: NDArray[np.floating], landmarks: Landmarks) -> NDArray[np.float64]:
    """Gap between the inner lips, eye-to-mouth distances, [T], of mouth units [T, 13].

    Args:
        landmarks: of the portrait, upright.
    """
    moves = unit_moves(landmarks.points.astype(float))[: len(MOUTH_UNITS), :, 1]
    down = (moves[:, LOWER_LIP] - moves[:, UPPER_LIP]) / landmarks.unit
    gap: NDArray[np.float64] = np.maximum(limit_close(mouth) @ down, 0.0)  # lips stop each other
    return gap
