"""The face window: the upright square around a face, brows to chin, that ``mini`` generates."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face.geometry import Similarity, square_around
from models.face.landmarks import FACE_OVAL, Landmarks

SIDE = 256
UNIT = 88.0
"""Distance from the centre of the eyes to the mouth, window pixels."""
MIDDLE = (128.0, 99.0)
"""Where the point half way between them lies: brows fit above, an open jaw below."""
EDGE = 10.0
"""Width of the window's rim, pixels, in which nothing moves."""
COVER_SIDE = 64
"""Side of a cover, pixels."""

_CHIN_ROOM = 0.36
"""How far, in units, an open jaw takes the chin down."""


def face_window(landmarks: Landmarks) -> Similarity:
    """From pixels of a picture to pixels of the window of the face in it."""
    return window_around(landmarks.eyes.mean(0), landmarks.mouth, landmarks.roll)


def window_around(
    eyes: NDArray[np.floating], mouth: NDArray[np.floating], roll: float
) -> Similarity:
    """From pixels of a picture to pixels of the window around a face.

    Args:
        eyes: centre of both eyes, [2]; ``mouth``: centre of the lips, [2]; pixels.
        roll: angle of the line from eye to eye, radians; positive sinks to the right.
    """
    scale = float(np.linalg.norm(mouth - eyes)) / UNIT
    cos, sin = np.cos(roll), np.sin(roll)
    offset = (np.array([SIDE / 2, SIDE / 2]) - MIDDLE) * scale
    centre = (eyes + mouth) / 2 + np.array([[cos, -sin], [sin, cos]]) @ offset
    return square_around(centre, SIDE * scale, roll, SIDE)


def face_cover(points: NDArray[np.floating]) -> NDArray[np.float32]:
    """Where skin may move: the face with room for an open jaw, away from the window's rim.

    Args:
        points: landmarks [468, 2 or more], window pixels.

    Returns:
        float32 [64, 64] in [0, 1].
    """
    oval = np.asarray(points[list(FACE_OVAL), :2], np.float64).copy()
    middle = oval.mean(0)
    low = np.clip((oval[:, 1] - middle[1]) / (0.9 * UNIT), 0, 1)
    oval[:, 1] += _CHIN_ROOM * UNIT * low**1.5
    scale = COVER_SIDE / SIDE
    face = np.zeros((SIDE, SIDE), np.float32)
    cv2.fillPoly(face, [np.round(oval).astype(np.int32)], (1.0,))
    rim = np.zeros_like(face)
    inner = round(EDGE)
    rim[inner:-inner, inner:-inner] = 1.0
    soft = cv2.GaussianBlur(face * rim, (0, 0), 3.0)
    small = cv2.resize(soft, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32).clip(0, 1)
