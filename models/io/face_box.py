"""The box with which a caller chooses one of several people in a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.errors import PortraitError

FaceBox = tuple[float, float, float, float]
"""Left, top, width, height: pixels of the upright picture, or shares of it if none is over 1."""

FORM = "four numbers x, y, width, height (pixels, or shares of the picture up to 1)"


def read_face_box(value: str | Sequence[float]) -> FaceBox:
    """The box that a text such as ``0.5,0,0.5,1``, or four numbers, mean.

    Raises:
        PortraitError: ``bad_box``.
    """
    words: Sequence[str | float] = value.split(",") if isinstance(value, str) else value
    try:
        left, top, width, height = (float(word) for word in words)
    except (TypeError, ValueError) as error:
        raise _bad(value, "write it as 120,40,300,300") from error
    box = (left, top, width, height)
    if not all(math.isfinite(number) for number in box):
        raise _bad(value, "write it as 120,40,300,300")
    if min(left, top) < 0 or min(width, height) <= 0:
        raise _bad(value, "begin at 0 or later, with a width and a height over 0")
    return box


def box_in_pixels(box: FaceBox, size: tuple[int, int]) -> FaceBox:
    """A box in pixels, cut to a picture of a size (width, height).

    Raises:
        PortraitError: ``bad_box``, it lies beside the picture.
    """
    across, down = size
    left, top, width, height = box
    if max(box) <= 1:
        left, top, width, height = left * across, top * down, width * across, height * down
    right, bottom = min(left + width, across), min(top + height, down)
    if left >= right or top >= bottom:
        raise PortraitError(
            f"expected a box within the picture of {across}x{down} pixels, got"
            f" {','.join(f'{number:g}' for number in box)}; move it onto the face",
            code="bad_box",
        )
    return left, top, right - left, bottom - top


def part_in_box(picture: NDArray[np.uint8], box: FaceBox, margin: float = 0.0) -> NDArray[np.uint8]:
    """What a box holds of RGB uint8 [H, W, 3], with a margin in shares of its sides.

    Raises:
        PortraitError: ``bad_box``, it lies beside the picture.
    """
    left, top, width, height = box_in_pixels(box, (picture.shape[1], picture.shape[0]))
    across, down = margin * width, margin * height
    rows = slice(max(0, math.floor(top - down)), math.ceil(top + height + down))
    columns = slice(max(0, math.floor(left - across)), math.ceil(left + width + across))
    return np.ascontiguousarray(picture[rows, columns])


def _bad(value: str | Sequence[float], advice: str) -> PortraitError:
    return PortraitError(
        f"expected a box of {FORM}, got {str(value)[:40]!r}; {advice}", code="bad_box"
    )
