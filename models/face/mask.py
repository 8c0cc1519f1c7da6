"""Segments the portrayed person from the background."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face.geometry import Similarity, cut, square_around
from models.face.landmarks import FACE_OVAL, Landmarks
from models.face.networks import Network, run_network

_INPUT = 256
_CONNECTED_ALPHA = 0.3
"""Alpha above which neighbouring pixels count as connected."""
_CONTEXT = 1.3
"""Side of the square given to ``segment``, divided by the crop's: arms help to find shoulders."""
_CONTEXT_FILLED = 0.85


def segment(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Person probability of each pixel: RGB uint8 [H, W, 3] -> float32 [H, W] in [0, 1]."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (_INPUT, _INPUT), interpolation=cv2.INTER_AREA)
    alpha = run_network(Network.PERSON, np.asarray(small, np.float32) / np.float32(255))[0][:, :, 0]
    full = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(full, np.float32).clip(0, 1)


def face_mask(
    picture: NDArray[np.uint8], landmarks: Landmarks, to_crop: Similarity, size: tuple[int, int]
) -> NDArray[np.float32]:
    """Mask of the portrayed person in a crop.

    What ``segment`` finds that is not connected to the face (other people) is left out; the face
    itself is always included.

    Args:
        picture: the source, RGB uint8 [H, W, 3].
        landmarks: of the face in it.
        to_crop: from the source to the crop.
        size: (height, width) of the crop.

    Returns:
        float32 [height, width] in [0, 1].
    """
    oval = to_crop.apply(landmarks.points[list(FACE_OVAL), :2])
    face = np.zeros(size, np.float32)
    cv2.fillPoly(face, [np.round(oval - 0.5).astype(np.int32)], (1.0,))
    alpha = np.maximum(
        _with_surroundings(picture, to_crop, size), cv2.GaussianBlur(face, (0, 0), 1.5)
    )
    count, labels = cv2.connectedComponents((alpha > _CONNECTED_ALPHA).astype(np.uint8))
    if count > 1:
        person = np.bincount(labels[face > 0.5], minlength=count)[1:].argmax() + 1
        near = cv2.dilate((labels == person).astype(np.uint8), np.ones((5, 5), np.uint8))
        alpha = alpha * near
    return np.asarray(alpha, np.float32).clip(0, 1)


def _with_surroundings(
    picture: NDArray[np.uint8], to_crop: Similarity, size: tuple[int, int]
) -> NDArray[np.float32]:
    """``segment`` for a crop, with more of the picture in view where there is more."""
    (height, width), side = size, max(size)
    middle = to_crop.inverse().apply(np.array([width / 2, height / 2]))
    for context in (_CONTEXT, 1.0):
        wide = square_around(middle, side / to_crop.scale * context, 0.0, _INPUT)
        cover = cut(np.full(picture.shape[:2], 255, np.uint8), wide, _INPUT)
        if cover.mean() > 255 * _CONTEXT_FILLED or context == 1.0:
            break
    alpha = segment(cut(picture, wide, _INPUT, "edge"))
    edge = round(_INPUT * (1 - 1 / context) / 2)
    inner = alpha[edge : _INPUT - edge, edge : _INPUT - edge]
    square = cv2.resize(inner, (side, side), interpolation=cv2.INTER_LINEAR)
    top, left = (side - height) // 2, (side - width) // 2
    return np.asarray(square[top : top + height, left : left + width], np.float32)
