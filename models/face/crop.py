"""Crops the square that the model sees, framed like its training pictures."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face.geometry import Similarity, cut, square_around
from models.face.landmarks import Landmarks

SIDE = 256
UNIT = 62.0
"""Mean distance from the centre of the eyes to the mouth in training pictures, pixels."""
MIDDLE = (127.7, 156.4)
"""Mean position of the point half way between them."""
UNIT_RANGE = (0.86, 1.15)
MIDDLE_RANGE = (10.0, 21.0)
"""A square picture within these limits of training pictures (shares of ``UNIT``; pixels across and
down) is framed well as it is."""
_BLUR = 10.0


@dataclass(frozen=True)
class Crop:
    """A cropped portrait and the transform that produced it.

    Attributes:
        picture: RGB uint8 [256, 256, 3].
        to_crop: from pixels of the source to pixels of the crop.
        missing: share of the crop that lies beyond the source and was filled in.
    """

    picture: NDArray[np.uint8]
    to_crop: Similarity
    missing: float


def crop_portrait(picture: NDArray[np.uint8], landmarks: Landmarks) -> Crop:
    """Frame a face: upright, scaled and shifted so that eyes and mouth lie as in training.

    Args:
        picture: RGB uint8 [H, W, 3].
        landmarks: of the face in it.

    Returns:
        The crop. A square picture that is framed well already is only resized.
    """
    to_crop = _framing(picture, landmarks)
    inner = cut(picture, to_crop, SIDE, "edge")
    cover = cut(np.full(picture.shape[:2], 255, np.uint8), to_crop, SIDE)
    missing = float((cover < 128).mean())
    if missing > 0:
        inner = _soften(inner, cover)
    return Crop(inner, to_crop, missing)


def _framing(picture: NDArray[np.uint8], landmarks: Landmarks) -> Similarity:
    eyes = landmarks.eyes.mean(0)
    middle, unit = (eyes + landmarks.mouth) / 2, float(np.linalg.norm(landmarks.mouth - eyes))
    height, width = picture.shape[:2]
    if height == width:
        whole = square_around(np.array([width / 2, height / 2]), width, 0.0, SIDE)
        offset = np.abs(whole.apply(middle) - MIDDLE)
        low, high = UNIT_RANGE
        if low <= unit * whole.scale / UNIT <= high and (offset <= MIDDLE_RANGE).all():
            return whole
    scale = UNIT / max(unit, 1.0)
    shift = np.array(MIDDLE) - scale * middle
    return Similarity(np.column_stack([scale * np.eye(2), shift]))


def _soften(inner: NDArray[np.uint8], cover: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blur what repeats the picture's edge, so that it does not look like streaks."""
    blurred = cv2.GaussianBlur(inner, (0, 0), _BLUR)
    eroded = cv2.erode(cover, np.ones((5, 5), np.uint8), borderValue=255)
    share = cv2.GaussianBlur(eroded, (0, 0), 2.0).astype(np.float32)[..., None] / 255
    return np.asarray(inner * share + blurred * (1 - share) + 0.5, np.uint8)
