"""The skin's two pictures: the photo with lips that touch, and with lips and eyes cut open."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face.cuts import Slit
from models.face.texture import FINE, MARGIN, Floats, sample
from models.puppets.photo import Photo

RIM = 1.7
"""Pixels beside the lips' line that are shadow rather than lip."""


def skin_textures(
    photo: Photo, mouth: Slit, eyes: tuple[Slit, Slit]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The skin where lips touch, and where they are parted and eyes move, RGBA [640, 640, 4] each.

    Parted lips have no shadow line at their edges; behind the lids lies white. Where the photo
    shows teeth, lips that touch get a shadow line.
    """
    yy, xx = np.mgrid[0 : photo.texture.shape[0], 0 : photo.texture.shape[1]]
    plane = (np.stack([xx, yy], -1) + 0.5) / FINE - MARGIN
    touching, parted = photo.texture.copy(), photo.texture.copy()
    q = mouth.local(plane)
    ends = np.clip((mouth.half - np.abs(q[..., 0])) / 4.0, 0, 1)
    for edge, way, shadow in ((mouth.upper, -1.0, 0.24), (mouth.lower, 1.0, 0.12)):
        away = (q[..., 1] - np.interp(q[..., 0], mouth.x, edge)) * way
        use = (away >= (-0.75 if mouth.parted else 0.0)) & (away < RIM) & (ends > 0)
        moved = plane[use] + (((RIM - away) * ends)[use] * way)[:, None] * mouth.axes[1]
        lip = sample(photo.texture, moved[:, None])[:, 0, :3].astype(np.float64)
        near = np.exp(-np.maximum(away[use], 0) / 0.8)[:, None]
        parted[use, :3] = lip * (1 - shadow * near)
        if mouth.parted:
            touching[use, :3] = lip * (1 - 0.5 * near)
    for eye in eyes:
        _fill_lids(photo, eye, plane, parted)
    return touching, parted


def _fill_lids(photo: Photo, eye: Slit, plane: Floats, picture: NDArray[np.uint8]) -> None:
    """Let the eyeball go on behind the lids of ``picture`` [640, 640, 4]."""
    e = eye.local(plane)
    box = (
        (np.abs(e[..., 0]) < eye.half + 4)
        & (e[..., 1] > eye.upper.min() - 5)
        & (e[..., 1] < eye.lower.max() + 5)
    )
    high, low = np.interp(e[..., 0], eye.x, eye.upper), np.interp(e[..., 0], eye.x, eye.lower)
    seen = (e[..., 1] > high + 0.4) & (e[..., 1] < low - 0.2) & (np.abs(e[..., 0]) < eye.half - 0.5)
    rows, columns = np.flatnonzero(box.any(1)), np.flatnonzero(box.any(0))
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    shown = np.ascontiguousarray(photo.texture[part][..., :3])
    lid = ((box & ~seen)[part] * 255).astype(np.uint8)
    filled = cv2.inpaint(shown, lid, 3, cv2.INPAINT_TELEA)
    picture[part][..., :3] = np.where(lid[..., None] > 0, filled, shown)
