"""A small label on the picture that says that it is generated: drawn once, blended into frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

TEXT = "AI-generated"
TEXT_SIZE = 0.033  # of the picture's shorter side
SMALLEST = 9  # pixels that can still be read
BACK, FRONT = 115, 225  # opacity, of 255


class DisclosureMark:
    """The label in the lower left corner of pictures of one size, (height, width) in pixels."""

    def __init__(self, size: tuple[int, int]) -> None:
        height, width = size
        label, opacity = _draw(max(SMALLEST, round(TEXT_SIZE * min(size))))
        margin = len(label) // 3
        bottom, right = height - margin, min(width, margin + label.shape[1])
        top = max(0, bottom - len(label))
        self._where = np.s_[top:bottom, margin:right]
        fits = np.s_[: bottom - top, : right - margin, None]
        alpha = opacity[fits].astype(np.uint16) * 256 // 255
        self._keep = np.repeat(256 - alpha, 3, axis=2)
        self._ink = np.repeat(label[fits] * alpha, 3, axis=2)

    @contextmanager
    def on(self, picture: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        """RGB uint8 [H, W, 3] with the label; what the picture held is back after the block."""
        if not picture.flags.writeable:
            picture = picture.copy()
        corner = picture[self._where]
        before = corner.copy()
        corner[:] = (corner * self._keep + self._ink) >> 8
        try:
            yield picture
        finally:
            corner[:] = before


def _draw(text_size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """White letters on black, grey uint8 [h, w], and their opacity, the same."""
    font = ImageFont.load_default(text_size)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(TEXT))
    pad = max(3, text_size // 3)
    image = Image.new("L", (right - left + 2 * pad, bottom - top + 2 * pad), 0)
    ImageDraw.Draw(image).text((pad - left, pad - top), TEXT, fill=255, font=font)
    letters = np.asarray(image)
    opacity = BACK + letters.astype(np.uint16) * (FRONT - BACK) // 255
    return letters, opacity.astype(np.uint8)
