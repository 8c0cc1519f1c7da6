"""BlazeFace: detects near and far faces in a picture, with six key points each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face.geometry import Similarity, cut, square_around
from models.face.networks import Network, run_network

MIN_SCORE = 0.5
SAME_FACE_OVERLAP = 0.3
"""Intersection over union above which two boxes are the same face."""
_SHARES = (1.0, 1.6, 0.5, 0.25)
"""Side of the searched squares as shares of the picture's longer side, in order: the whole picture,
a wider view for a face that fills it, then tiles for faces far away."""
_SEARCHED_SIDE = 2400
"""Larger pictures are shrunk first, which bounds the time of a search without a result."""
_MIN_TILE = 480.0
"""Smaller tiles would only find faces that are too small anyway."""


@dataclass(frozen=True)
class Face:
    """One detected face, in pixels of its picture.

    Attributes:
        box: left, top, right, bottom; about brows to chin; float32 [4].
        score: certainty in [0, 1].
        points: eye (left in the picture), eye, nose, mouth, ear, ear; float32 [6, 2].
    """

    box: NDArray[np.float32]
    score: float
    points: NDArray[np.float32]

    @property
    def side(self) -> float:
        """The box's longer side."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))

    @property
    def centre(self) -> NDArray[np.float32]:
        """The box's centre [2]."""
        return ((self.box[:2] + self.box[2:]) / 2).astype(np.float32)


@dataclass(frozen=True)
class _Grid:
    """Anchor grid of a detector: its input's side, and (cells along a side, anchors per cell)."""

    network: Network
    side: int
    cells: tuple[tuple[int, int], ...]


_GRIDS = (
    _Grid(Network.SHORT_RANGE, 128, ((16, 2), (8, 6))),
    _Grid(Network.FULL_RANGE, 192, ((48, 1),)),
)


def detect_faces(picture: NDArray[np.uint8]) -> list[Face]:
    """Faces in RGB uint8 [H, W, 3], the largest first; none is an empty list."""
    shrunk = _SEARCHED_SIDE / max(*picture.shape[:2], _SEARCHED_SIDE)
    if shrunk < 1:
        picture = np.asarray(
            cv2.resize(picture, None, fx=shrunk, fy=shrunk, interpolation=cv2.INTER_AREA), np.uint8
        )
    return [_scaled(face, 1 / shrunk) for face in _detect(picture)]


def _detect(picture: NDArray[np.uint8]) -> list[Face]:
    height, width = picture.shape[:2]
    for share in _SHARES:
        side = max(height, width) * share
        if share < 1 and side < _MIN_TILE:
            break
        found: list[Face] = []
        for centre in _tiles(width, height, side):
            for grid in _GRIDS:
                found.extend(_search(picture, grid, square_around(centre, side, 0.0, grid.side)))
        if found:
            return sorted(_distinct(found), key=lambda face: face.side, reverse=True)
    return []


def _scaled(face: Face, factor: float) -> Face:
    box, points = face.box * factor, face.points * factor
    return Face(box.astype(np.float32), face.score, points.astype(np.float32))


def _tiles(width: int, height: int, side: float) -> list[NDArray[np.float64]]:
    """Centres of squares that cover a picture and overlap their neighbours by half or more."""
    along = []
    for length in (width, height):
        count = 1 + max(0, int(np.ceil((length - side) / (side / 2))))
        ends = (length / 2, length / 2) if count == 1 else (side / 2, length - side / 2)
        along.append(np.linspace(*ends, count))
    return [np.array([x, y]) for y in along[1] for x in along[0]]


def _search(picture: NDArray[np.uint8], grid: _Grid, square: Similarity) -> list[Face]:
    small = cut(picture, square, grid.side).astype(np.float32)
    boxes, logits = run_network(grid.network, small / np.float32(127.5) - np.float32(1))
    scores = 1 / (1 + np.exp(-np.clip(logits[:, 0], -80, 80)))
    rows = np.flatnonzero(scores >= MIN_SCORE)
    pairs = boxes[rows].reshape(-1, 8, 2)
    anchors = _anchors(grid)[rows, None]
    pairs[:, :1] += anchors[:, :1]
    pairs[:, 2:] += anchors
    back = square.inverse()
    faces = []
    for score, (middle, size, *points) in zip(scores[rows], pairs, strict=True):
        corners = back.apply(np.stack([middle - size / 2, middle + size / 2]))
        faces.append(
            Face(
                corners.reshape(4).astype(np.float32),
                float(score),
                back.apply(np.stack(points)).astype(np.float32),
            )
        )
    return faces


@cache
def _anchors(grid: _Grid) -> NDArray[np.float32]:
    """Anchor centres in pixels of the detector's input, [anchors, 2]."""
    grids = []
    for count, per_cell in grid.cells:
        along = (np.arange(count, dtype=np.float32) + 0.5) * (grid.side / count)
        y, x = np.meshgrid(along, along, indexing="ij")
        grids.append(np.repeat(np.stack([x, y], -1).reshape(-1, 2), per_cell, axis=0))
    return np.concatenate(grids)


def _distinct(faces: list[Face]) -> list[Face]:
    """One face for each group of overlapping ones: their average, weighted by score."""
    rest = sorted(faces, key=lambda face: face.score, reverse=True)
    distinct = []
    while rest:
        group = [face for face in rest if _overlap(rest[0], face) >= SAME_FACE_OVERLAP]
        weights = np.array([face.score for face in group], np.float32)
        distinct.append(
            Face(
                np.average([face.box for face in group], 0, weights).astype(np.float32),
                group[0].score,
                np.average([face.points for face in group], 0, weights).astype(np.float32),
            )
        )
        taken = {id(face) for face in group}
        rest = [face for face in rest if id(face) not in taken]
    return distinct


def _overlap(one: Face, other: Face) -> float:
    """Intersection over union of two boxes; 1 for a box and itself, even an empty one."""
    if one is other:
        return 1.0
    near, far = np.maximum(one.box[:2], other.box[:2]), np.minimum(one.box[2:], other.box[2:])
    common = float(np.prod(np.maximum(far - near, 0)))
    areas = [float(np.prod(face.box[2:] - face.box[:2])) for face in (one, other)]
    return common / max(sum(areas) - common, 1e-6)
