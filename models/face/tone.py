"""The one tone of a face without colours of its own: grey, sepia, or a tint of any hue.

Where colours follow from brightness, what is drawn into the face takes them from its brightness
too: a model that learnt from coloured faces draws the inside of a grey face's mouth in colour.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

MONOCHROME = 1.2
"""Mean distance of a face's colours from those that follow from its brightness, grey levels: below,
it has one tone. Black-and-white, sepia and marble faces have up to 1.1."""


def find_tone(face: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Colours by brightness, uint8 [256, 3], of a face RGB uint8 [H, W, 3]; None if it has others.

    What a colour has beyond its brightness is linear in it, with one bend at the mean.
    """
    colours, levels = face.reshape(-1, 3), _brightness(face).ravel()
    bend = float(levels.mean())
    weights = np.linalg.lstsq(_bent(levels, bend), colours - levels[:, None].astype(float))[0]
    steps = np.arange(256)
    tone = np.clip(_bent(steps, bend) @ weights + steps[:, None] + 0.5, 0, 255).astype(np.uint8)
    gap = float(np.abs(tone[levels].astype(int) - colours).mean())
    return tone if gap < MONOCHROME else None


def in_tone(picture: NDArray[np.uint8], tone: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] with the colours that ``tone`` has for its brightness."""
    return tone[_brightness(picture)]


def _brightness(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _bent(levels: NDArray[np.integer], bend: float) -> NDArray[np.float64]:
    """Columns 1, brightness below the bend and above it, [N, 3]."""
    away = levels - bend
    return np.stack([np.ones(len(away)), np.minimum(away, 0), np.maximum(away, 0)], 1)
