"""Frames portraits: the square of a picture that a viewer sees."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face.geometry import Similarity, cut, square_around
from models.face.landmarks import FACE_OVAL, Landmarks

UNIT = 62 / 256
"""Distance from the centre of the eyes to the mouth in a picture framed around the face, as a share
of its side."""
MIDDLE = (0.499, 0.611)
"""Where the point half way between them lies, the same share."""
OWN_UNIT = (0.09, 0.32)
"""A square picture whose face has such a size is shown as it is, with its own framing."""
OWN_ASPECT = 1.12
"""Longer by shorter side of a picture that still counts as square."""
_MARGIN = 0.02
"""The face is at least this share of the side away from the edges of such a picture."""
_BLUR = 0.04


@dataclass(frozen=True)
class Crop:
    """A cropped portrait and the transform that produced it.

    Attributes:
        picture: RGB uint8 [side, side, 3].
        to_crop: from pixels of the source to pixels of the crop.
        missing: share of the crop that lies beyond the source and was filled in.
    """

    picture: NDArray[np.uint8]
    to_crop: Similarity
    missing: float


def frame_portrait(picture: NDArray[np.uint8], landmarks: Landmarks, side: int) -> Crop:
    """Frame a portrait: as it is where that will do, else around the face.

    Args:
        picture: RGB uint8 [H, W, 3].
        landmarks: of the face in it.
        side: of the crop, pixels.
    """
    own = _own_framing(picture, landmarks, side)
    return _crop(picture, own or _around_face(landmarks, side), side)


def crop_portrait(picture: NDArray[np.uint8], landmarks: Landmarks, side: int = 256) -> Crop:
    """Frame a face: upright pictures, scaled and shifted so that all faces have one size and place.

    Args:
        picture: RGB uint8 [H, W, 3].
        landmarks: of the face in it.
        side: of the crop, pixels.
    """
    return _crop(picture, _around_face(landmarks, side), side)


def _own_framing(picture: NDArray[np.uint8], landmarks: Landmarks, side: int) -> Similarity | None:
    """The largest middle square of a picture, if it is about square and shows the face well."""
    height, width = picture.shape[:2]
    shorter, longer = sorted((height, width))
    if longer > OWN_ASPECT * shorter:
        return None
    whole = square_around(np.array([width / 2, height / 2]), shorter, 0.0, side)
    unit = float(np.linalg.norm(landmarks.mouth - landmarks.eyes.mean(0))) / shorter
    oval = whole.apply(landmarks.points[list(FACE_OVAL), :2]) / side
    inside = oval.min() >= _MARGIN and oval.max() <= 1 - _MARGIN
    return whole if OWN_UNIT[0] <= unit <= OWN_UNIT[1] and inside else None


def _around_face(landmarks: Landmarks, side: int) -> Similarity:
    eyes = landmarks.eyes.mean(0)
    middle, unit = (eyes + landmarks.mouth) / 2, float(np.linalg.norm(landmarks.mouth - eyes))
    scale = UNIT * side / max(unit, 1.0)
    shift = np.array(MIDDLE) * side - scale * middle
    return Similarity(np.column_stack([scale * np.eye(2), shift]))


def _crop(picture: NDArray[np.uint8], to_crop: Similarity, side: int) -> Crop:
    inner = cut(picture, to_crop, side, "edge")
    cover = cut(np.full(picture.shape[:2], 255, np.uint8), to_crop, side)
    missing = float((cover < 128).mean())
    if missing > 0:
        inner = _soften(inner, cover)
    return Crop(inner, to_crop, missing)


def _soften(inner: NDArray[np.uint8], cover: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blur what repeats the picture's edge, so that it does not look like streaks."""
    side = len(inner)
    edge = 2 * round(side / 128) + 1
    blurred = cv2.GaussianBlur(inner, (0, 0), _BLUR * side)
    eroded = cv2.erode(cover, np.ones((edge, edge), np.uint8), borderValue=255)
    soft = cv2.GaussianBlur(eroded, (0, 0), side / 128)
    share = soft.astype(np.float32)[..., None] / 255
    return np.asarray(inner * share + blurred * (1 - share) + 0.5, np.uint8)
