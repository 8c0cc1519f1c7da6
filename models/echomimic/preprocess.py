"""EchoMimic's crop and face mask from a portrait and the box of its face.

The mask is the box grown by a tenth, the crop the box grown by half and made square; both are
resized together. Integer arithmetic is that of the published preparation, except that a mask that
reaches beyond the picture's upper or left edge ends there: the published code counts negative
indices from the other end, which empties the mask.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MASK_GROWTH, CROP_GROWTH = 0.1, 0.5
Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""


class EchoMimicPortrait(NamedTuple):
    """What EchoMimic needs of a portrait.

    Attributes:
        pixels: RGB [3, S, S] from -1 to 1.
        mask: [1, S, S], 0 to 1.
    """

    pixels: Tensor
    mask: Tensor


def prepare_echomimic_portrait(
    picture: Pixels, box: NDArray[np.floating], size: int
) -> EchoMimicPortrait:
    """RGB uint8 [H, W, 3] and the face's box [4] in pixels -> what EchoMimic needs at ``size``."""
    left, top, right, bottom = square_of(crop_of(box, picture.shape[:2]))
    mask = mask_of(box, picture.shape[:2])[top:bottom, left:right]
    crop = picture[top:bottom, left:right]
    soft = np.asarray(cv2.resize(mask, (size, size)), np.float32) / 255
    small = np.asarray(cv2.resize(crop, (size, size)), np.float32)
    pixels = torch.from_numpy(small).permute(2, 0, 1) / 127.5 - 1
    return EchoMimicPortrait(pixels, torch.from_numpy(soft)[None])


def rounded(box: NDArray[np.floating]) -> Box:
    """A box in whole pixels."""
    left, top, right, bottom = (int(value) for value in np.round(box))
    return left, top, right, bottom


def mask_of(
    box: NDArray[np.floating],
    shape: tuple[int, int],
    *,
    growth: float = MASK_GROWTH,
    as_published: bool = False,
) -> Pixels:
    """The mask [H, W], 0 or 255; ``as_published`` with negative indices from the other end."""
    left, top, right, bottom = rounded(box)
    across, down = int(growth * (right - left)), int(growth * (bottom - top))
    begin = (top - down, left - across)
    if not as_published:
        begin = (max(0, begin[0]), max(0, begin[1]))
    mask: Pixels = np.zeros(shape, np.uint8)
    mask[begin[0] : bottom + down, begin[1] : right + across] = 255
    return mask


def crop_of(
    box: NDArray[np.floating], shape: tuple[int, int], *, growth: float = CROP_GROWTH
) -> Box:
    """The box grown on every side, within the picture."""
    left, top, right, bottom = rounded(box)
    across, down = int(growth * (right - left)), int(growth * (bottom - top))
    height, width = shape
    return (
        max(0, left - across),
        max(0, top - down),
        min(width, right + across),
        min(height, bottom + down),
    )


def square_of(crop: Box) -> Box:
    """The largest square of a crop, around its middle."""
    left, top, right, bottom = crop
    side = min(right - left, bottom - top)
    spans = []
    for low, high in ((left, right), (top, bottom)):
        begin = max(low, (low + high) // 2 - side // 2)
        spans.append((begin, min(high, begin + side)))
    side = min(end - begin for begin, end in spans)
    (x, _), (y, _) = spans
    return x, y, x + side, y + side
