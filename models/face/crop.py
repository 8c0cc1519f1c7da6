"""Frames portraits: the part of a picture that a viewer sees."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face.geometry import Similarity, cut
from models.face.landmarks import FACE_OVAL, Landmarks

UNIT = 62 / 256
"""Distance from the centre of the eyes to the mouth in a picture framed around the face, as a share
of its shorter side."""
MIDDLE = (0.499, 0.611)
"""Where the point half way between them lies in a square, the same share."""
EYES_DOWN = 1 / 3
"""In a tall picture the eyes lie at this share of its height, or lower, as in a square."""
OWN_UNIT = (0.09, 0.32)
"""A picture of the wanted aspect whose face has such a size is shown with its own framing."""
LARGEST_UNIT = {"wide": 0.28, "tall": 0.40}
"""How large a face may become so that nothing has to be filled in: all of it, hair to chin, must
fit beside the shorter side."""
OWN_ASPECT = 1.12
"""Times the wanted aspect that still counts as the same."""
_MARGIN = 0.02
"""The face is at least this share of the sides away from the edges of such a picture."""
_BLUR = 0.04


@dataclass(frozen=True)
class Crop:
    """A cropped portrait and the transform that produced it.

    Attributes:
        picture: RGB uint8 [height, width, 3].
        to_crop: from pixels of the source to pixels of the crop.
        missing: share of the crop that lies beyond the source and was filled in.
    """

    picture: NDArray[np.uint8]
    to_crop: Similarity
    missing: float


def frame_portrait(picture: NDArray[np.uint8], landmarks: Landmarks, size: tuple[int, int]) -> Crop:
    """Frame a portrait: as it is where that will do, else around the face.

    A square that is framed around the face shows every face at one size and place. What has
    another aspect shows of the picture what there is, before anything must be filled in.

    Args:
        picture: RGB uint8 [H, W, 3].
        landmarks: of the face in it.
        size: (height, width) of the crop, pixels.
    """
    own = _own_framing(picture, landmarks, size)
    if own is None and size[0] == size[1]:
        own = _around_face(landmarks, size[0])
    return _crop(picture, own or _within_picture(picture, landmarks, size), size)


def crop_portrait(picture: NDArray[np.uint8], landmarks: Landmarks, side: int = 256) -> Crop:
    """Frame a face: upright pictures, scaled and shifted so that all faces have one size and place.

    Args:
        picture: RGB uint8 [H, W, 3].
        landmarks: of the face in it.
        side: of the crop, pixels.
    """
    return _crop(picture, _around_face(landmarks, side), (side, side))


def _own_framing(
    picture: NDArray[np.uint8], landmarks: Landmarks, size: tuple[int, int]
) -> Similarity | None:
    """The largest middle part of a picture that has about the aspect and shows the face well."""
    there, wanted = np.array(picture.shape[1::-1]), np.array(size[::-1])
    scales = wanted / there
    if scales.max() > OWN_ASPECT * scales.min():
        return None
    whole = _scaled(scales.max(), (wanted - scales.max() * there) / 2)
    oval = whole.apply(landmarks.points[list(FACE_OVAL), :2]) / wanted
    inside = oval.min() >= _MARGIN and oval.max() <= 1 - _MARGIN
    unit = scales.max() * _unit(landmarks) / wanted.min()
    return whole if OWN_UNIT[0] <= unit <= OWN_UNIT[1] and inside else None


def _around_face(landmarks: Landmarks, side: int) -> Similarity:
    scale = UNIT * side / max(_unit(landmarks), 1.0)
    return _scaled(scale, np.array(MIDDLE) * side - scale * _middle(landmarks))


def _within_picture(
    picture: NDArray[np.uint8], landmarks: Landmarks, size: tuple[int, int]
) -> Similarity:
    """Around the face, moved into the picture and enlarged as far as that fills the view."""
    there, wanted = np.array(picture.shape[1::-1]), np.array(size[::-1])
    side, unit = wanted.min(), max(_unit(landmarks), 1.0)
    largest = LARGEST_UNIT["wide" if wanted[0] > wanted[1] else "tall"]
    scale = float(np.clip((wanted / there).max(), UNIT * side / unit, largest * side / unit))
    down = max(MIDDLE[1] * side, EYES_DOWN * wanted[1] + scale * unit / 2)
    shift = np.array([MIDDLE[0] * wanted[0], down]) - scale * _middle(landmarks)
    spare = wanted - scale * there
    return _scaled(scale, np.where(spare <= 0, np.clip(shift, spare, 0), shift))


def _scaled(scale: float, shift: NDArray[np.floating]) -> Similarity:
    return Similarity(np.column_stack([scale * np.eye(2), shift]))


def _unit(landmarks: Landmarks) -> float:
    return float(np.linalg.norm(landmarks.mouth - landmarks.eyes.mean(0)))


def _middle(landmarks: Landmarks) -> NDArray[np.floating]:
    return np.asarray((landmarks.eyes.mean(0) + landmarks.mouth) / 2)


def _crop(picture: NDArray[np.uint8], to_crop: Similarity, size: tuple[int, int]) -> Crop:
    inner = cut(picture, to_crop, size, "edge")
    cover = cut(np.full(picture.shape[:2], 255, np.uint8), to_crop, size)
    missing = float((cover < 128).mean())
    if missing > 0:
        inner = _soften(inner, cover)
    return Crop(inner, to_crop, missing)


def _soften(inner: NDArray[np.uint8], cover: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blur what repeats the picture's edge, so that it does not look like streaks."""
    side = min(inner.shape[:2])
    edge = 2 * round(side / 128) + 1
    blurred = cv2.GaussianBlur(inner, (0, 0), _BLUR * side)
    eroded = cv2.erode(cover, np.ones((edge, edge), np.uint8), borderValue=255)
    soft = cv2.GaussianBlur(eroded, (0, 0), side / 128)
    share = soft.astype(np.float32)[..., None] / 255
    return np.asarray(inner * share + blurred * (1 - share) + 0.5, np.uint8)
