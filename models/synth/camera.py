"""The camera: rotation and projection matrices, and the framing of a head."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.synth.character import HeadLandmarks
from models.synth.mesh import Floats

Matrix = NDArray[np.float64]
Point = NDArray[np.floating[Any]]

FACE_SHARE = 0.41
"""Height from chin to brows, as a share of the picture's height."""
_FIELD_OF_VIEW = 0.26
_HEADROOM = 0.035
_MAX_HEAD_SHARE = 0.80


@dataclass(frozen=True)
class HeadCamera:
    """A static camera that frames one head.

    Attributes:
        position: [3], decimetres.
        view_projection: [4, 4], from world to clip space.
    """

    position: Matrix
    view_projection: Matrix

    def project(self, points: Point, size: int) -> Floats:
        """Pixels (x, y), float32 [K, 2], of points [K, 3] in a picture of ``size`` pixels."""
        homogeneous = np.concatenate([points, np.ones((len(points), 1))], 1)
        clip_space = homogeneous @ self.view_projection.T
        ndc = clip_space[:, :2] / clip_space[:, 3:]
        pixels = (0.5 + ndc * np.array([0.5, -0.5])) * size
        out: Floats = pixels.astype(np.float32)
        return out


def frame_head(
    landmarks: HeadLandmarks, *, yaw: float, pitch: float, shift: tuple[float, float]
) -> HeadCamera:
    """Place the camera so that the face has a fixed height and the crown is just inside.

    Args:
        landmarks: of the head in its rest pose.
        yaw, pitch: where the camera stands, radians.
        shift: offset of the picture, shares of its height (right, up).
    """
    chin = float(landmarks.chin[1])
    height = (landmarks.brow_height - chin) / FACE_SHARE
    top = landmarks.crown_height + _HEADROOM * height
    height = max(height, (top - chin) / _MAX_HEAD_SHARE)
    x = -shift[0] * height
    y = top - height / 2.0 - shift[1] * height
    target = np.array([x, y, landmarks.eyes[0][2]])
    distance = height / 2.0 / math.tan(_FIELD_OF_VIEW / 2.0)
    position = target + rotation(yaw, pitch, 0.0) @ np.array([0.0, 0.0, distance])
    projection = perspective(_FIELD_OF_VIEW, 2.0, 40.0)
    return HeadCamera(position, projection @ look_at(position, target))


def rotation(yaw: float, pitch: float, roll: float) -> Matrix:
    """Rotation matrix [3, 3] of angles in radians: roll, then pitch, then yaw."""
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    cr, sr = math.cos(roll), math.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    out: Matrix = about_y @ about_x @ about_z
    return out


def perspective(field_of_view: float, near: float, far: float) -> Matrix:
    """OpenGL projection [4, 4] of a square picture; ``field_of_view`` in radians."""
    t = 1.0 / math.tan(field_of_view / 2.0)
    a, b = (far + near) / (near - far), 2.0 * far * near / (near - far)
    return np.array([[t, 0, 0, 0], [0, t, 0, 0], [0, 0, a, b], [0, 0, -1, 0]])


def orthographic(radius: float, near: float, far: float) -> Matrix:
    """OpenGL projection [4, 4] without perspective, of a square of half-width ``radius``."""
    span = far - near
    out = np.diag([1.0 / radius, 1.0 / radius, -2.0 / span, 1.0])
    out[2, 3] = -(far + near) / span
    return out


def look_at(eye: Point, target: Point) -> Matrix:
    """View matrix [4, 4] of an upright camera at ``eye`` that looks at ``target``."""
    backward = np.asarray(eye, np.float64) - np.asarray(target, np.float64)
    backward /= np.linalg.norm(backward)
    right = np.cross((0.0, 1.0, 0.0), backward)
    right /= np.linalg.norm(right)
    out = np.eye(4)
    out[:3, :3] = right, np.cross(backward, right), backward
    out[:3, 3] = -out[:3, :3] @ eye
    return out
