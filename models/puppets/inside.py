"""The mouth behind the lips: how far its own teeth show, its tongue and its dental arches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, median_filter

from models.face.cuts import Slit
from models.face.texture import LUMA, Floats
from models.puppets.photo import Photo
from models.puppets.teeth import ABOVE_EDGE, BELOW_EDGE, HALF_WIDTH

HALF_ARC = 34.0
"""Half the length of a row along its arch, millimetres."""


def shown_edge(photo: Photo, mouth: Slit, tooth: Floats) -> Floats:
    """How far below the upper lip's edge the photo's own teeth end, along the slit, [K] pixels."""
    depth = np.linspace(0.0, 1.0, 33)
    y = mouth.upper[:, None] + depth * (mouth.lower - mouth.upper)[:, None]
    shown = photo.colours(
        mouth.world(np.stack([np.broadcast_to(mouth.x[:, None], y.shape), y], -1)).reshape(-1, 2)
    )
    bright = (shown @ LUMA).reshape(y.shape) > 0.62 * float(tooth @ np.array(LUMA))
    last = np.where(bright.any(1), 32 - bright[:, ::-1].argmax(1), 0) / 32.0
    edge: Floats = gaussian_filter1d(median_filter(last, 7, mode="nearest"), 1.2) * (
        mouth.lower - mouth.upper
    )
    return edge


def tongue_texture(tongue: Floats) -> NDArray[np.uint8]:
    """The tongue's front, RGBA uint8 [64, 128, 4]: a soft dome with a furrow."""
    x, y = np.meshgrid(np.linspace(-1, 1, 128), np.linspace(0, 1, 64))
    edge = 0.03 + 0.6 * np.abs(x) ** 2.4
    alpha = np.clip((y - edge) / 0.16, 0, 1)
    shade = 0.55 + 0.50 * np.clip((y - edge) / 0.4, 0, 1) - 0.12 * np.exp(-((x / 0.12) ** 2))
    rgb = tongue * shade[..., None]
    return (np.clip(np.dstack([rgb, alpha]), 0, 1) * 255 + 0.5).astype(np.uint8)


def dental_arch(lower: bool, columns: int = 28) -> tuple[Floats, Floats]:
    """A row of teeth as a curved strip, millimetres from the middle of their edges.

    Returns:
        Points [2, columns, 3], and where each column lies in the row's picture, 0..1, [columns].
    """
    arc = np.linspace(-HALF_ARC, HALF_ARC, columns)
    wide, deep = (24.0, 30.0) if lower else (26.5, 32.0)
    angle = np.linspace(-1.35, 1.35, 400)
    x, z = wide * np.sin(angle), deep * (1 - np.cos(angle))
    length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(z)))])
    length -= length[-1] / 2
    x, z = np.interp(arc, length, x), np.interp(arc, length, z)
    heights = (-BELOW_EDGE, ABOVE_EDGE) if lower else (-ABOVE_EDGE, BELOW_EDGE)
    rows = [np.column_stack([x, np.full(columns, y), z]) for y in heights]
    return np.stack(rows), x / (2 * HALF_WIDTH) + 0.5
