"""Fits a photograph of skin to the head: cuts it along the head's part of the texture and fades it
into one tone at the neck, where the photograph ends and the body goes on."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from models.face.geometry import ease
from models.synth.lighting import Rgb, to_rgb
from models.synth.mesh import Floats, Ints, Mesh, texture_borders

Box = tuple[int, int, int, int]
"""Left, top, right, bottom; pixels of the square texture, first row uppermost."""
_FACE = (0.45, 0.40, 0.85, 0.60)
_FEATURES = (0.46, 0.36, 1.0, 0.64)
_NAPE = 0.76
"""Where the face, its eyes and mouth, and the end of the hair are in all photographs: shares of
the picture's width and height (left, top, right, bottom)."""
_EVENING = 0.5
_PORES = 0.5
_FADE = 70.0
_NECK_HEIGHT = 6.75
"""Borders of the head's part below this height are the neck's, decimetres."""


@dataclass(frozen=True)
class SkinPhoto:
    """A photograph of skin that covers a box of the texture.

    Attributes:
        picture: sRGB and how much is scalp under hair, uint8 [H, W, 4], first row lowest.
        origin, extent: the box in texture coordinates.
        mean: of the face, linear RGB.
    """

    picture: NDArray[np.uint8]
    origin: tuple[float, float]
    extent: tuple[float, float]
    mean: Rgb


@dataclass(frozen=True)
class HeadArea:
    """Where the head lies in the texture of the body.

    Attributes:
        faces: texture coordinates of the head's faces, [F, 4, 2].
        neck: of the two ends of each border between head and body, [E, 2, 2].
    """

    faces: Floats
    neck: Floats

    def share(self, box: Box, side: int) -> Floats:
        """How much of a photograph to show, 0..1, [H, W]: nothing outside and at the neck."""
        width, height = box[2] - box[0], box[3] - box[1]
        inside = np.zeros((height, width), np.uint8)
        for corners in _to_pixels(self.faces, box, side):
            cv2.fillConvexPoly(inside, corners, 1)
        clear = np.ones((height, width), np.uint8)
        for ends in _to_pixels(self.neck, box, side):
            cv2.line(clear, tuple(ends[0].tolist()), tuple(ends[1].tolist()), (0,), 1)
        distance = cv2.distanceTransform(clear, cv2.DIST_L2, 5) * (2048 / side)
        out: Floats = (ease(distance / _FADE - 0.1) * inside).astype(np.float32)
        return out


def find_head_area(mesh: Mesh, faces: NDArray[np.bool_]) -> HeadArea:
    """The connected part of the texture that holds the highest of the chosen faces [F]."""
    points, texture = mesh.faces[faces], mesh.face_texture[faces]
    part = _connected(texture, len(mesh.texture))
    head = part == part[int(mesh.points[points].mean(1)[:, 1].argmax())]
    points, texture = points[head], texture[head]
    heights = np.zeros(len(mesh.texture), np.float32)
    heights[texture.ravel()] = mesh.points[points.ravel(), 1]
    borders = texture_borders(texture)
    outline = _connected(borders, len(mesh.texture))
    borders = borders[outline == np.bincount(outline).argmax()]  # not those of mouth and nostrils
    neck = borders[(heights[borders] < _NECK_HEIGHT).all(1)]
    return HeadArea(mesh.texture[texture], mesh.texture[neck])


def fit_skin(photo: NDArray[np.uint8], box: Box, side: int, area: HeadArea) -> SkinPhoto:
    """Fit a photograph, RGB uint8 [H, W, 3], that covers ``box`` of a texture of ``side`` pixels.

    Raises:
        ValueError: the photograph has not the size of the box.
    """
    expected = (box[3] - box[1], box[2] - box[0], 3)
    if photo.shape != expected:
        raise ValueError(f"expected a skin of shape {expected}, got {photo.shape}")
    share = area.share(box, side)
    linear = (photo.astype(np.float32) / 255.0) ** 2.2
    middle = _crop(linear, _FACE).reshape(-1, 3)
    mean = np.median(middle, 0)
    scalp = _scalp(linear, mean) * share
    linear = _clear(linear, mean, scalp)
    rim = (share > 0.05) & (share < 0.9) & (scalp < 0.1)
    tone = np.median(linear[rim], 0) if rim.any() else mean
    mixed = share[..., None] * linear + (1.0 - share[..., None]) * tone
    shown = np.concatenate([np.clip(mixed, 0, 1) ** (1 / 2.2), scalp[..., None]], -1)
    return SkinPhoto(
        picture=np.ascontiguousarray((shown * 255 + 0.5).astype(np.uint8)[::-1]),
        origin=(box[0] / side, 1.0 - box[3] / side),
        extent=((box[2] - box[0]) / side, (box[3] - box[1]) / side),
        mean=to_rgb(mean),
    )


def _crop(picture: Floats, shares: tuple[float, float, float, float]) -> Floats:
    height, width = picture.shape[:2]
    left, top, right, bottom = shares
    return picture[int(top * height) : int(bottom * height), int(left * width) : int(right * width)]


def _scalp(linear: Floats, mean: Floats) -> Floats:
    """How much of each pixel is hair: what is much darker than the face, and not in the face."""
    brightness = cv2.GaussianBlur(linear.mean(-1), (0, 0), 7.0) / float(mean.mean())
    outside = np.ones(brightness.shape, np.float32)
    _crop(outside, _FEATURES)[...] = 0.0
    outside[:, int(_NAPE * outside.shape[1]) :] = 0.0
    outside = cv2.GaussianBlur(outside, (0, 0), 12.0)
    scalp: Floats = np.clip((0.78 - brightness) / 0.28, 0.0, 1.0) * outside
    return scalp


def _clear(linear: Floats, mean: Floats, scalp: Floats) -> Floats:
    """Take back a part of the photograph's own shading, and stress its pores."""
    wide = cv2.GaussianBlur(linear, (0, 0), 32.0)
    near = cv2.GaussianBlur(linear, (0, 0), 9.0)
    even = ((mean / np.maximum(wide, 1e-3)) ** _EVENING) ** (1.0 - scalp[..., None])
    pores = (linear / np.maximum(near, 1e-3)) ** _PORES
    out: Floats = (linear * np.clip(even, 0.6, 1.6) * np.clip(pores, 0.6, 1.5)).astype(np.float32)
    return out


def _to_pixels(texture: Floats, box: Box, side: int) -> Ints:
    pixels = np.stack([texture[..., 0] * side - box[0], (1 - texture[..., 1]) * side - box[1]], -1)
    out: Ints = np.round(pixels).astype(np.int32)
    return out


def _connected(faces: Ints, count: int) -> Ints:
    """Number of the connected part that each face or edge [F, K] belongs to, [F]."""
    rows = np.repeat(faces[:, 0], faces.shape[1])
    links = sparse.csr_matrix((np.ones(faces.size), (rows, faces.ravel())), shape=(count, count))
    part: Ints = connected_components(links, directed=False)[1][faces[:, 0]]
    return part
