"""Two rows of real teeth: what ``teeth.png`` holds, tinted as a photograph would show them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

TEETH = Path(__file__).with_name("teeth.png")
DOTS = 10
"""Pixels for a millimetre."""
HALF_WIDTH = 30.0
"""Half of a row's width, millimetres."""
ABOVE_EDGE, BELOW_EDGE = 16.0, 1.5
"""Of the upper row, from the edges of the front teeth up to the gums and down; the lower row the
other way round."""
GLOSS = 0.25
"""Of wet enamel, as a share of the teeth's own brightness."""


@cache
def _rows() -> NDArray[np.float32]:
    """Both rows [2, H, W, 4] in 0..1: shade, gloss, gum, cover."""
    stored = cv2.imread(str(TEETH), cv2.IMREAD_UNCHANGED)
    assert stored is not None
    rgba = cv2.cvtColor(stored, cv2.COLOR_BGRA2RGBA).astype(np.float32) / 255
    return np.stack(np.split(rgba, 2))


def tinted_row(
    lower: bool, tooth: NDArray[np.floating], gum: NDArray[np.floating], blur: float
) -> NDArray[np.uint8]:
    """One row, RGBA uint8 [H, W, 4].

    Args:
        tooth, gum: colours in the brightest light, [3] in 0..1.
        blur: millimetres.
    """
    shade, gloss, is_gum, cover = np.split(_rows()[int(lower)], 4, axis=-1)
    colour = tooth + (gum - tooth) * is_gum
    rgb = colour * shade + GLOSS * gloss * float(np.mean(tooth))
    row = np.dstack([rgb * cover, cover])
    sigma = max(blur, 0.05) * DOTS
    row = np.asarray(cv2.GaussianBlur(row, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))
    row[..., :3] = row[..., :3] / np.maximum(row[..., 3:], 1e-3)
    return np.asarray(np.clip(row, 0, 1) * 255 + 0.5, np.uint8)
