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
upwards, as shares of the picture's side."""
BODY_SIZE = (0.0024, 0.0022)
"""Those of a whole sway and a whole breath."""
GRID = 64
"""Cells each way of the grid that movement is computed on."""
_INVERSIONS = 2


class HeadWarp:
    """Fields of one identity for pictures of ``side`` pixels, a multiple of ``GRID``.

    The grid has one cell more beyond each edge, so that the whole picture lies between nodes.
    """

    def __init__(self, landmarks: Landmarks, side: int) -> None:
        self.side = side
        self._cell = side // GRID
        at = (np.arange(GRID + 2, dtype=np.float32) - 0.5) * self._cell
        x, y = np.meshgrid(at, at)
        self._nodes = np.stack([x, y], -1)
        self._relief: HeadRelief = make_relief(landmarks, self._nodes.reshape(-1, 2))

    def displacement(self, pose: NDArray[np.floating]) -> Floats:
        """How far the grid's nodes move for a pose [5], pixels (x, y), [66, 66, 2]."""
        relief = self._relief
        moved = turned(relief.places - relief.pivot, relief.depth, pose) * relief.turn[:, None]
        moved += relief.sway[:, None] * np.array([pose[3], -pose[4]], np.float32) * self.side
        return np.asarray(moved.reshape(self._nodes.shape), np.float32)

    def source(self, forward: Floats) -> Floats:
        """For each pixel of the moved picture its place in the still one, for ``resample``.

        Args:
            forward: the nodes' ``displacement``.

        Returns:
            Pixel indices (x, y), float32 [side, side, 2].
        """
        back = forward
        for _ in range(_INVERSIONS):  # what arrives at a node left from where the field was this
            at = np.asarray((self._nodes - back) / self._cell + 0.5, np.float32)
            back = resample(forward, at)
        wide = (GRID + 2) * self._cell
        places = cv2.resize(self._nodes - back - 0.5, (wide, wide), interpolation=cv2.INTER_LINEAR)
        inner = slice(self._cell, self._cell + self.side)
        return np.asarray(places[inner, inner], np.float32)


def resample(picture: NDArray[Any], places: Floats) -> NDArray[Any]:
    """A picture's values at ``places`` float32 [H, W, 2], beyond its edge those of the edge."""
    flags, edge = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
    moved = cv2.remap(picture, places, None, flags, borderMode=edge)  # type: ignore[call-overload]
    return np.asarray(moved)


def turned(offset: Floats, depth: Floats, pose: NDArray[np.floating]) -> Floats:
    """How far places at ``offset`` [N, 2] and ``depth`` [N] from the pivot move when the head
    turns by a pose's yaw, pitch and roll: [N, 2]."""
    yaw, pitch, roll = (float(angle) for angle in pose[:3])
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    look = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    tip = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    change = ((tip @ look @ nod)[:2] - np.eye(2, 3)).astype(np.float32)
    return np.asarray(offset @ change[:, :2].T + depth[:, None] * change[:, 2], np.float32)
