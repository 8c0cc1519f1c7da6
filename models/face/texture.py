"""A face cut out of a picture: whoever it is, it has one size and place."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face.crop import crop_portrait
from models.face.geometry import Similarity, cut
from models.face.landmarks import Landmarks

Floats = NDArray[np.floating]
SIDE = 256
"""Side of the crop around a face, pixels."""
MARGIN = 32
"""What the texture shows around the crop, crop pixels."""
FINE = 2
"""Texture pixels for one crop pixel."""
LUMA = (0.3, 0.6, 0.1)
"""Shares of red, green and blue in brightness."""


@dataclass(frozen=True)
class FaceTexture:
    """A face in a crop of 256x256 pixels.

    Attributes:
        texture: the crop with ``MARGIN`` around it, ``FINE`` pixels for one, RGBA uint8
            [640, 640, 4]; opaque.
        marks: landmarks [468, 3], crop pixels; depth away from the camera.
        to_crop: from pixels of the source to those of the crop.
    """

    texture: NDArray[np.uint8]
    marks: Floats
    to_crop: Similarity

    @property
    def upsampled(self) -> float:
        """How much the source was magnified, at least 1; what is added is made as soft."""
        return max(1.0, self.to_crop.scale)

    def colours(self, places: Floats) -> Floats:
        """Colours of the texture in 0..1 at crop pixels [N, 2]."""
        colours: Floats = sample(self.texture[..., :3], places[:, None])[:, 0] / 255.0
        return colours


def sample(texture: NDArray[np.uint8], places: Floats) -> NDArray[np.uint8]:
    """Colours [N, M, C] of a texture [640, 640, C] at crop pixels [N, M, 2], interpolated."""
    x, y = np.moveaxis(((places + MARGIN) * FINE - 0.5).astype(np.float32), -1, 0)
    return np.asarray(cv2.remap(texture, x, y, cv2.INTER_LINEAR), np.uint8)


def read_texture(picture: NDArray[np.uint8], landmarks: Landmarks) -> FaceTexture:
    """Cut out the face of an RGB uint8 [H, W, 3] picture."""
    to_crop = crop_portrait(picture, landmarks, SIDE).to_crop
    wide = to_crop.matrix.copy()
    wide[:, 2] += MARGIN
    to_texture = Similarity(wide * FINE)
    side = (SIDE + 2 * MARGIN) * FINE
    rgb = cut(picture, to_texture, side, "edge")
    cover = cut(np.full(picture.shape[:2], 255, np.uint8), to_texture, side)
    if (cover < 128).any():  # what lies beyond the picture is soft, as in ``models.face.crop``
        inner = cv2.erode(cover, np.ones((9, 9), np.uint8), borderValue=255)
        share = cv2.GaussianBlur(inner, (0, 0), 4.0)[..., None] / 255.0
        rgb = (rgb * share + cv2.GaussianBlur(rgb, (0, 0), 20.0) * (1 - share) + 0.5).astype(
            np.uint8
        )
    marks = landmarks.points
    marks = np.column_stack([to_crop.apply(marks[:, :2]), marks[:, 2] * to_crop.scale])
    texture = np.dstack([rgb, np.full((side, side), 255, np.uint8)])
    return FaceTexture(texture, marks, to_crop)
