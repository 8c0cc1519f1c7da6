"""Closes a portrait's parted lips, so that it rests and speaks from closed ones.

In the frame of the lips' cut (``models.face.cuts``: x along it, y down), with edges u(x) <= v(x)
and gap g = v - u, skin above goes down to y + 0.42 g a(y), and skin below up to y - 0.58 g b(y); a
and b fall from 1 at the edges to 0 below the nose and at the chin. The edges meet; teeth hide.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face.cuts import Slit, mouth_slit
from models.face.geometry import ease
from models.face.landmarks import Landmarks
from models.face.texture import FaceTexture, Floats, read_texture

UPPER_SHARE, LOWER_SHARE = 0.42, 0.58
"""Of the gap, what each lip goes."""
_NOSE_BASE, _CHIN = 2, 152
_NOSE_ROOM, _CHIN_ROOM = 0.8, 1.1
"""Where the movement ends, as shares of the way from the lips to the nose and to the chin."""
_LEAST_ROOM = 1.6
"""It ends no nearer than this many times what a lip goes: skin never folds over itself."""
_RIM, _RIM_ENDS = 2.8, 4.0
"""Crop pixels beside a lip's edge that are shadow, not lip; fewer this near to the corners."""
_SEAM, _SEAM_WIDTH = 0.5, 1.0
"""Darkness of the line between closed lips, and its width in crop pixels."""
_HALVINGS = 16
_STILL = 1e-3
"""Crop pixels; what moves less keeps its colour to the bit."""


class ClosedMouth(NamedTuple):
    """A picture [H, W, 3] whose lips are closed now, and the landmarks in it."""

    picture: NDArray[np.uint8]
    landmarks: Landmarks


def close_mouth(picture: NDArray[np.uint8], landmarks: Landmarks) -> ClosedMouth | None:
    """Close the lips in RGB uint8 [H, W, 3]; None where they are closed already."""
    face = read_texture(picture, landmarks)
    return close_slit(picture, landmarks, face, mouth_slit(face))


def close_slit(
    picture: NDArray[np.uint8], landmarks: Landmarks, face: FaceTexture, mouth: Slit
) -> ClosedMouth | None:
    """The same where the face's texture and the lips' cut are known."""
    if not mouth.parted:
        return None
    moved = _move_landmarks(face, mouth, landmarks)
    return ClosedMouth(_draw(picture, face, mouth), moved)


def closing(face: FaceTexture, mouth: Slit, places: Floats, side: Floats) -> Floats:
    """How far closing takes places [..., 2] of the cut's frame along y, [...].

    Args:
        side: -1 of what belongs to the upper lip, 1 of what belongs to the lower one, [...].
    """
    x, y = places[..., 0], places[..., 1]
    gap = np.interp(x, mouth.x, mouth.lower - mouth.upper, 0.0, 0.0)
    upper, lower = np.interp(x, mouth.x, mouth.upper), np.interp(x, mouth.x, mouth.lower)
    nose, chin = (mouth.local(face.marks[k, :2])[1] for k in (_NOSE_BASE, _CHIN))
    least = _LEAST_ROOM * gap + 1e-6
    above = ease((upper - y) / np.maximum(_NOSE_ROOM * (upper - nose), UPPER_SHARE * least))
    below = ease((y - lower) / np.maximum(_CHIN_ROOM * (chin - lower), LOWER_SHARE * least))
    moved: Floats = gap * np.where(side < 0, UPPER_SHARE * (1 - above), -LOWER_SHARE * (1 - below))
    return moved


def _draw(picture: NDArray[np.uint8], face: FaceTexture, mouth: Slit) -> NDArray[np.uint8]:
    """The picture with skin and lips moved over the gap."""
    height, width = picture.shape[:2]
    to_picture = face.to_crop.inverse()
    reach = 2 * mouth.half
    around = np.array([(x, y) for x in (mouth.x[0], mouth.x[-1]) for y in (-reach, reach)])
    corners = to_picture.apply(mouth.world(around))
    left, top = np.clip(np.floor(corners.min(0)), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(0)), 0, (width, height)).astype(int)
    pixels = np.stack(np.meshgrid(np.arange(left, right), np.arange(top, bottom)), -1) + 0.5
    places = mouth.local(face.to_crop.apply(pixels))
    source, seam = _sources(face, mouth, places)
    x, y = np.moveaxis(to_picture.apply(mouth.world(source)).astype(np.float32) - 0.5, -1, 0)
    edge = cv2.BORDER_REPLICATE
    part = cv2.remap(picture, x, y, cv2.INTER_CUBIC, borderMode=edge) * (1 - seam[..., None])
    moved = np.asarray(np.abs(source - places).max(-1, keepdims=True) > _STILL)
    closed = picture.copy()
    was = picture[top:bottom, left:right]
    closed[top:bottom, left:right] = np.where(moved, np.clip(part + 0.5, 0, 255), was)
    return closed


def _sources(face: FaceTexture, mouth: Slit, places: Floats) -> tuple[Floats, Floats]:
    """Where what closed lips show at places [H, W, 2] comes from, and its darkness [H, W].

    Both in the cut's frame. The way back is found by halving: closing keeps the order of heights.
    """
    x, y = places[..., 0], places[..., 1]
    upper, lower = np.interp(x, mouth.x, mouth.upper), np.interp(x, mouth.x, mouth.lower)
    side = np.where(y < upper + UPPER_SHARE * (lower - upper), -1.0, 1.0)
    ends = np.stack([y, y + side * (lower - upper)])
    near, far = ends.min(0), ends.max(0)
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        gone = middle + closing(face, mouth, np.stack([x, middle], -1), side)
        near, far = np.where(gone < y, middle, near), np.where(gone < y, far, middle)
    came = np.where(lower > upper, (near + far) / 2, y)
    edge = np.where(side < 0, upper, lower)
    away = (came - edge) * side
    ends = np.clip((mouth.half - np.abs(x)) / _RIM_ENDS, 0, 1)
    came = came + np.maximum(_RIM - away, 0) * ends * side  # lip instead of its edge's shadow
    seam = _SEAM * np.exp(-np.maximum(away, 0) / _SEAM_WIDTH) * (away < _RIM) * (ends > 0)
    return np.stack([x, came], -1), seam * ends


def _move_landmarks(face: FaceTexture, mouth: Slit, landmarks: Landmarks) -> Landmarks:
    places = mouth.local(face.marks[:, :2])
    line = np.interp(places[:, 0], mouth.x, (mouth.upper + mouth.lower) / 2)
    side = np.where(places[:, 1] > line, 1.0, -1.0)
    places[:, 1] += closing(face, mouth, places, side)
    points = landmarks.points.copy()
    points[:, :2] = face.to_crop.inverse().apply(mouth.world(places))
    return Landmarks(points, landmarks.presence)
