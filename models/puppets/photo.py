"""Reads a portrait for a puppet: framed as the product frames it, with steady landmarks and pose."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face.crop import crop_portrait
from models.face.geometry import Similarity, cut
from models.face.landmarks import Landmarks

Floats = NDArray[np.floating]
SIDE, MARGIN, FINE = 256, 32, 2
"""The picture; what the texture shows around it; texture and drawing pixels for one of the picture."""


@dataclass(frozen=True)
class Photo:
    """A portrait.

    Attributes:
        crop: as the product frames it, RGB uint8 [256, 256, 3].
        texture: the same RGBA with MARGIN around, FINE pixels for one; alpha is the person.
        marks: landmarks [468, 3], pixels of the crop; depth away from the camera.
        scale, turn, shift: how the template lies in the picture.
        upsampled: how much the source was magnified; what is added should be as soft.
    """

    crop: NDArray[np.uint8]
    texture: NDArray[np.uint8]
    marks: Floats
    scale: float
    turn: Floats
    shift: Floats
    upsampled: float

    def place(self, points: Floats) -> Floats:
        """Template points [..., 3] in the picture."""
        return self.scale * points @ self.turn.T + self.shift

    def colours(self, places: Floats) -> Floats:
        """Colours of the texture in 0..1 at pixels [N, 2] of the crop."""
        at = ((places + MARGIN) * FINE - 0.5).astype(np.float32)[:, None]
        return cv2.remap(self.texture[..., :3], at, None, cv2.INTER_LINEAR)[:, 0] / 255.0


def read_photo(picture: NDArray[np.uint8], landmarks: Landmarks, template_marks: Floats) -> Photo:
    """Frame a portrait; ``landmarks`` [468, 3] lie in it and are as steady as they can be."""
    crop = crop_portrait(picture, landmarks)
    to_crop = crop.to_crop
    wide = to_crop.matrix.copy()
    wide[:, 2] += MARGIN
    to_texture = Similarity(wide * FINE)
    side = (SIDE + 2 * MARGIN) * FINE
    rgb = cut(picture, to_texture, side, "edge")
    cover = cut(np.full(picture.shape[:2], 255, np.uint8), to_texture, side)
    if (cover < 128).any():  # what lies beyond the photo is soft, as in the product's crop
        inner = cv2.erode(cover, np.ones((9, 9), np.uint8), borderValue=255)
        share = cv2.GaussianBlur(inner, (0, 0), 4.0)[..., None] / 255.0
        rgb = (rgb * share + cv2.GaussianBlur(rgb, (0, 0), 20.0) * (1 - share) + 0.5).astype(
            np.uint8
        )
    marks = landmarks.points
    marks = np.column_stack([to_crop.apply(marks[:, :2]), marks[:, 2] * to_crop.scale])
    texture = np.dstack([rgb, np.full((side, side), 255, np.uint8)])
    return Photo(
        crop.picture, texture, marks, *align(template_marks, marks), max(1.0, to_crop.scale)
    )


def align(source: Floats, target: Floats) -> tuple[float, Floats, Floats]:
    """Scale, turn and shift that take source [N, 3] nearest to target."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    turn = u @ np.diag(flip) @ vt
    scale = float((s * flip).sum() / (a**2).sum())
    return scale, turn, target.mean(0) - scale * turn @ source.mean(0)
