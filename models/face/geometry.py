"""Crops rotated and scaled squares out of pictures, and maps points accordingly.

Points are in continuous pixels: the first pixel reaches from 0 to 1, its centre is 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_BORDERS = {"edge": cv2.BORDER_REPLICATE, "zero": cv2.BORDER_CONSTANT}


@dataclass(frozen=True)
class Similarity:
    """Rotation, uniform scale and translation from picture to crop: ``matrix`` float64 [2, 3]."""

    matrix: NDArray[np.float64]

    @property
    def scale(self) -> float:
        """Crop pixels for one picture pixel."""
        return float(np.hypot(self.matrix[0, 0], self.matrix[1, 0]))

    def apply(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Points [..., 2] of the picture in the crop."""
        moved: NDArray[np.float64] = points @ self.matrix[:, :2].T + self.matrix[:, 2]
        return moved

    def then(self, other: Similarity) -> Similarity:
        """This one first, then ``other``."""
        turn = other.matrix[:, :2] @ self.matrix[:, :2]
        return Similarity(np.column_stack([turn, other.apply(self.matrix[:, 2])]))

    def inverse(self) -> Similarity:
        """From crop to picture."""
        turn = np.linalg.inv(self.matrix[:, :2])
        return Similarity(np.column_stack([turn, -turn @ self.matrix[:, 2]]))


def fit_similarity(
    source: NDArray[np.floating], target: NDArray[np.floating]
) -> tuple[float, NDArray[np.floating], NDArray[np.floating]]:
    """Scale, rotation [D, D] and shift [D] that take source [N, D] nearest to target [N, D].

    The least squares solution without reflection (Umeyama 1991).
    """
    a, b = source - source.mean(0), target - target.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    flip = np.append(np.ones(len(s) - 1), np.sign(np.linalg.det(u @ vt)))
    turn = u @ np.diag(flip) @ vt
    scale = float((s * flip).sum() / (a**2).sum())
    return scale, turn, target.mean(0) - scale * turn @ source.mean(0)


def ease(t: NDArray[np.floating]) -> NDArray[np.floating]:
    """From 0 to 1 without corners, flat before 0 and beyond 1."""
    t = np.clip(t, 0.0, 1.0)
    eased: NDArray[np.floating] = t * t * (3.0 - 2.0 * t)
    return eased


def square_around(centre: NDArray[np.floating], side: float, angle: float, to: int) -> Similarity:
    """Maps a square of a picture onto [0, to]^2.

    Args:
        centre: [2], of the square; ``side``: its length; both in picture pixels.
        angle: of its upper side against the picture's x axis, radians, y down.
        to: side of the crop, pixels.
    """
    scale = to / side
    turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return Similarity(np.column_stack([turn, to / 2 - turn @ np.asarray(centre, np.float64)]))


def cut(
    picture: NDArray[np.uint8],
    similarity: Similarity,
    size: int | tuple[int, int],
    border: str = "zero",
) -> NDArray[np.uint8]:
    """Crop [H, W, ...] with anti-aliasing; beyond the picture its ``edge`` or ``zero``.

    ``size`` is (H, W), or the side of a square.
    """
    height, width = (size, size) if isinstance(size, int) else size
    picture, matrix = _part(picture, similarity, width, height)
    shrink = min(1.0, 1.5 * similarity.scale)
    if shrink < 0.75:
        rows, columns = picture.shape[:2]
        small = max(1, round(columns * shrink)), max(1, round(rows * shrink))
        picture = np.asarray(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), np.uint8)
        matrix[:, 0] *= columns / small[0]
        matrix[:, 1] *= rows / small[1]
    matrix[:, 2] += matrix[:, :2] @ np.array([0.5, 0.5]) - 0.5  # OpenCV counts from pixel middles
    flags = cv2.INTER_CUBIC if similarity.scale > 1 else cv2.INTER_LINEAR
    warped = cv2.warpAffine(
        picture, matrix, (width, height), flags=flags, borderMode=_BORDERS[border]
    )
    return np.asarray(warped, np.uint8)


def _part(
    picture: NDArray[np.uint8], similarity: Similarity, width: int, height: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The region of a picture that a crop can show, and the matrix from its first pixel."""
    corners = similarity.inverse().apply(
        np.array([[0, 0], [width, 0], [0, height], [width, height]])
    )
    spare = 2 + 2 / similarity.scale
    size = np.array(picture.shape[1::-1])
    low = np.clip(np.floor(corners.min(0) - spare), 0, size - 1).astype(int)
    high = np.clip(np.ceil(corners.max(0) + spare), low + 1, size).astype(int)
    matrix = similarity.matrix.copy()
    matrix[:, 2] += matrix[:, :2] @ low
    return picture[low[1] : high[1], low[0] : high[0]], matrix
