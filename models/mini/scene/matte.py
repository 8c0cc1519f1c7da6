"""Separates the person from the background, and fills in what the head hides of it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face.geometry import ease

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]

_PERSON = 0.4
"""Share of a pixel above which it belongs to the person."""
_CORE, _FADE = 0.012, 0.040
"""Around the person, as shares of the picture's shorter side: what moves along in full (loose
hair), and where nothing does any more."""
_FILL_SIDE = 160
_FILL_REACH = 5
_SPREAD = 0.02
"""Blur of what is filled in, deep behind the head."""


def moving_matte(person: Floats) -> Floats:
    """What moves along with the person, softly: float32 [H, W] in [0, 1] from the same."""
    far = _away_from(person)
    side = float(min(person.shape))
    return np.asarray(1 - ease((far / side - _CORE) / (_FADE - _CORE)), np.float32)


def fill_behind(picture: Picture, person: Floats) -> Picture:
    """The picture without the person: what lies around continues behind.

    Args:
        picture: RGB uint8 [H, W, 3].
        person: float32 [H, W] in [0, 1].

    Returns:
        RGB uint8 [H, W, 3]; equal to ``picture`` wherever ``moving_matte`` is below 1.
    """
    height, width = person.shape
    side = min(height, width)
    hole = _away_from(person) <= _CORE * side - 1
    if not hole.any() or hole.all():
        return picture
    small = cv2.resize(picture, (_FILL_SIDE, _FILL_SIDE), interpolation=cv2.INTER_AREA)
    share = cv2.resize(hole.astype(np.float32), (_FILL_SIDE,) * 2, interpolation=cv2.INTER_AREA)
    filled = cv2.inpaint(small, (share > 0).astype(np.uint8), _FILL_REACH, cv2.INPAINT_TELEA)
    behind = cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC)
    deep = np.clip(
        cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3) / (0.03 * side), 0, 1
    )
    soft = cv2.GaussianBlur(behind, (0, 0), _SPREAD * side)
    mixed = behind + deep[..., None] * (soft.astype(np.float32) - behind)
    share = cv2.GaussianBlur(cv2.erode(hole.astype(np.float32), np.ones((3, 3))), (0, 0), 1.0)
    share = (share * hole)[..., None]
    return np.asarray(picture + share * (mixed - picture) + 0.5, np.uint8)


def _away_from(person: Floats) -> Floats:
    """Distance from the person, pixels."""
    empty = (person <= _PERSON).astype(np.uint8)
    if empty.all():  # nobody: the library counts from nowhere
        return np.full(person.shape, max(person.shape), np.float32)
    return np.asarray(cv2.distanceTransform(empty, cv2.DIST_L2, 5), np.float32)
