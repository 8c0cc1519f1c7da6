"""Rotations and camera matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Point = NDArray[np.floating[Any]]


def rotation(yaw: float, pitch: float, roll: float) -> Matrix:
    """Rotation matrix [3, 3]: roll, then pitch, then yaw."""
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    cr, sr = math.cos(roll), math.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    whole: Matrix = about_y @ about_x @ about_z
    return whole


def perspective(field: float, near: float, far: float) -> Matrix:
    """Projection [4, 4] of a square picture with a field of view in radians."""
    t = 1.0 / math.tan(field / 2.0)
    a, b = (far + near) / (near - far), 2.0 * far * near / (near - far)
    return np.array([[t, 0, 0, 0], [0, t, 0, 0], [0, 0, a, b], [0, 0, -1, 0]])


def ortho(radius: float, near: float, far: float) -> Matrix:
    """Projection [4, 4] without perspective, for a square of half-width ``radius``."""
    span = far - near
    out = np.diag([1.0 / radius, 1.0 / radius, -2.0 / span, 1.0])
    out[2, 3] = -(far + near) / span
    return out


def look_at(eye: Point, target: Point) -> Matrix:
    """View matrix [4, 4] of a camera at ``eye``, upright, that looks at ``target``."""
    back = np.asarray(eye, np.float64) - np.asarray(target, np.float64)
    back /= np.linalg.norm(back)
    right = np.cross((0.0, 1.0, 0.0), back)
    right /= np.linalg.norm(right)
    out = np.eye(4)
    out[:3, :3] = right, np.cross(back, right), back
    out[:3, 3] = -out[:3, :3] @ eye
    return out
