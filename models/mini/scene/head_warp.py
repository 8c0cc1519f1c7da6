"""Turns a portrait's head by a few degrees: where each pixel of the moved picture comes from."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face.landmarks import Landmarks
from models.mini.scene.head_relief import HeadRelief, make_relief

Floats = NDArray[np.float32]

POSE = ("yaw", "pitch", "roll", "sway", "breath")
"""Columns of a pose: radians as in ``models.mini.motion``; sway to the picture's right and breath
upwards, as shares of the picture's shorter side."""
BODY_SIZE = (0.0024, 0.0022)
"""Those of a whole sway and a whole breath."""
GRID = 64
"""Cells along the shorter side of the grid that movement is computed on, at most."""
_INVERSIONS = 2


class HeadWarp:
    """Fields of one identity.

    The grid has one cell more beyond each edge, so that the whole picture lies between nodes.

    Attributes:
        cell: side of a cell, whole pixels.
    """

    def __init__(self, landmarks: Landmarks, size: tuple[int, int]) -> None:
        """``size`` is (height, width) of the picture, pixels."""
        self._size, side = size, min(size)
        self.cell = -(-side // GRID)
        down, across = (
            (np.arange(-(-n // self.cell) + 2, dtype=np.float32) - 0.5) * self.cell for n in size
        )
        nodes = np.stack(np.meshgrid(across, down), -1)
        self._grid = nodes.shape
        relief: HeadRelief = make_relief(landmarks, nodes.reshape(-1, 2))
        arms = np.column_stack([relief.places - relief.pivot, relief.depth])
        self._basis = np.column_stack([arms * relief.turn[:, None], relief.sway * side])

    def displacement(self, pose: NDArray[np.floating]) -> Floats:
        """How far the grid's nodes move for a pose [5], pixels (x, y), [rows, columns, 2]."""
        change = np.vstack([turning(pose).T, [pose[3], -pose[4]]])
        moved = self._basis @ change.astype(np.float32)
        return np.asarray(moved.reshape(self._grid), np.float32)

    def source(self, forward: Floats) -> Floats:
        """For each pixel of the moved picture how far away its place in the still one is.

        Args:
            forward: the nodes' ``displacement``.

        Returns:
            Pixels (x, y), float32 [height, width, 2].
        """
        away: Floats = -forward
        for _ in range(_INVERSIONS):  # what arrives at a node left from where the field was this
            away = -resample(forward, away * np.float32(1 / self.cell))
        rows, columns, _ = self._grid
        wide = columns * self.cell, rows * self.cell
        fine = cv2.resize(away, wide, interpolation=cv2.INTER_LINEAR)
        down, across = (slice(self.cell, self.cell + n) for n in self._size)
        return np.asarray(fine[down, across], np.float32)


def resample(picture: NDArray[Any], away: Floats) -> NDArray[Any]:
    """A picture's values at places ``away`` float32 [H, W, 2] from each pixel, beyond its edge
    those of the edge."""
    flags, edge = cv2.INTER_LINEAR | cv2.WARP_RELATIVE_MAP, cv2.BORDER_REPLICATE
    moved = cv2.remap(picture, away, None, flags, borderMode=edge)  # type: ignore[call-overload]
    return np.asarray(moved)


def turning(pose: NDArray[np.floating]) -> Floats:
    """Matrix [2, 3] that says how far a place at an offset (x, y, depth) from the pivot moves when
    the head turns by a pose's yaw, pitch and roll."""
    yaw, pitch, roll = (float(angle) for angle in pose[:3])
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    look = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    tip = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return np.asarray((tip @ look @ nod)[:2] - np.eye(2, 3), np.float32)
