"""Hallo's picture, face region and attention masks from a portrait and its landmarks.

    rectangle around face or lips -> 64 x 64 -> Gaussian blur -> stretched to 0 .. 255
    lip = blurred lips    face = blurred face - blurred lips    full = 255 (1 - blurred face)

and each of the three at every level of the network. Integer arithmetic and rounding are those of
the published preparation.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.face.landmarks import FACE_OVAL
from models.sd15.preprocess import FACE_RATIO, rectangle, resized

LIPS = (
    *(61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
    *(146, 91, 181, 84, 17, 314, 405, 321, 375),
)
LIP_RATIO = 2.0
GRID = 64  # side that masks are blurred at
FACE_BLUR, LIP_BLUR = 51, 31
LEVELS = 4
Pixels = NDArray[np.uint8]


class Masks(NamedTuple):
    """Attention masks as pictures of 64 x 64, 0 to 255."""

    full: Pixels
    face: Pixels
    lip: Pixels


class HalloPortrait(NamedTuple):
    """What Hallo needs of a portrait.

    Attributes:
        pixels: RGB [3, S, S] from -1 to 1.
        region: the face's rectangle [3, S, S], 0 to 1.
        masks: background, face and lips at every level, each [3, L] from 0 to 1.
    """

    pixels: Tensor
    region: Tensor
    masks: tuple[Tensor, ...]


def prepare_hallo_portrait(
    picture: Pixels, points: NDArray[np.floating], size: int
) -> HalloPortrait:
    """RGB uint8 [H, W, 3] and landmarks [N >= 468, 2] in pixels -> what Hallo needs at ``size``."""
    face = rectangle(points[list(FACE_OVAL)], picture.shape[:2], FACE_RATIO)
    lips = rectangle(points[list(LIPS)], picture.shape[:2], LIP_RATIO)
    masks = separate(blurred(face, FACE_BLUR), blurred(lips, LIP_BLUR))
    pixels = torch.from_numpy(resized(picture, size)).permute(2, 0, 1).float() / 255
    region = torch.from_numpy(region_of(face, size)).permute(2, 0, 1).float() / 255
    return HalloPortrait((pixels - 0.5) / 0.5, region, levels(masks, size))


def blurred(mask: Pixels, kernel: int) -> Pixels:
    """[H, W] -> 64 x 64, blurred and stretched to the whole range."""
    small = cv2.resize(mask, (GRID, GRID))
    soft = cv2.GaussianBlur(small, (kernel, kernel), 0)
    stretched = cv2.normalize(soft, np.empty_like(soft), 0, 255, cv2.NORM_MINMAX)
    return np.asarray(stretched, np.uint8)


def separate(face: Pixels, lips: Pixels) -> Masks:
    """Blurred face and lips -> background, face without lips, lips."""
    background = 255 * (1 - face.astype(np.float64) / 255)
    without = np.asarray(cv2.subtract(face, lips), np.uint8)
    return Masks(background.astype(np.uint8), without, lips)


def levels(masks: Masks, size: int) -> tuple[Tensor, ...]:
    """Masks [3, L] at an 8th, 16th, 32nd and 64th of ``size``, from 0 to 1."""
    found = []
    for level in range(LEVELS):
        side = size // 2 ** (3 + level)
        maps = [resized(mask, side).reshape(-1) for mask in masks]
        found.append(torch.from_numpy(np.stack(maps)).float() / 255)
    return tuple(found)


def region_of(face: Pixels, size: int) -> Pixels:
    """The face's rectangle as a picture [size, size, 3]."""
    return np.repeat(resized(face, size)[..., None], 3, axis=2)
