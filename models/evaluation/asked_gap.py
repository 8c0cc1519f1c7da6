"""How far apart mouth units ask a portrait's lips to be, in the unit in which landmarks measure it.

The units take the landmarks where they take those of the photo puppets that training clips show.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.evaluation.face_track import LOWER_LIP, UPPER_LIP
from models.face.landmarks import Landmarks
from models.mini.motion import MOUTH_UNITS
from models.mini.scene.skin_motion import unit_moves

_JAW, _CLOSE = MOUTH_UNITS.index("jawOpen"), MOUTH_UNITS.index("mouthClose")


def asked_gap(mouth: NDArray[np.floating], landmarks: Landmarks) -> NDArray[np.float64]:
    """Gap between the inner lips, eye-to-mouth distances, [T], of mouth units [T, 13].

    Args:
        landmarks: of the portrait, upright.
    """
    moves = unit_moves(landmarks.points.astype(float))[: len(MOUTH_UNITS), :, 1]
    down = (moves[:, LOWER_LIP] - moves[:, UPPER_LIP]) / landmarks.unit
    units = np.asarray(mouth, np.float64).copy()
    units[:, _CLOSE] = np.minimum(units[:, _CLOSE], units[:, _JAW])  # it undoes an open jaw alone
    gap: NDArray[np.float64] = np.maximum(units @ down, 0.0)  # lips stop each other
    return gap
