"""What people see beyond the lips' timing: colour of the mouth's inside, and flicker.

Pictures are face windows, RGB uint8 [H, W, 3]; boxes are (left, top, right, bottom) in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]

OPEN_PIXELS = 40
"""Fewer pixels than this between the lips show no inside of a mouth."""
_COLOUR_BLUR = 2.0
"""Pixels; colours are compared at places of about this size, edges are not."""


def to_lab(picture: Picture) -> NDArray[np.float32]:
    """CIELAB [H, W, 3] of an sRGB picture, D65."""
    scaled = picture.astype(np.float32) / 255
    return np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2LAB), np.float32)


@dataclass
class MouthColour:
    """Gathers the colour error of the mouth's inside over a clip.

    Attributes:
        chroma: mean distance of (a*, b*) from the truth, one value a frame with an open mouth.
        bluer: how much bluer (less b*) than the truth the worst place of each such frame is.
    """

    chroma: list[float] = field(default_factory=list)
    bluer: list[float] = field(default_factory=list)

    def add(self, generated: Picture, truth: Picture, inside: Mask) -> None:
        """Compare one frame between its true lips (``inside`` [H, W])."""
        if inside.sum() < OPEN_PIXELS:
            return
        one, other = (
            cv2.GaussianBlur(to_lab(picture), (0, 0), _COLOUR_BLUR)[inside]
            for picture in (generated, truth)
        )
        self.chroma.append(float(np.linalg.norm(one[:, 1:] - other[:, 1:], axis=1).mean()))
        self.bluer.append(float(np.percentile(other[:, 2] - one[:, 2], 98)))

    def error(self) -> float:
        """Mean chroma error over all frames; NaN if the mouth never opened."""
        return float(np.mean(self.chroma)) if self.chroma else float("nan")

    def bluest(self) -> float:
        """The worst frame but one in twenty; NaN if the mouth never opened."""
        return float(np.percentile(self.bluer, 95)) if self.bluer else float("nan")


def between_lips(
    upper: NDArray[np.floating], lower: NDArray[np.floating], shape: tuple[int, int]
) -> Mask:
    """Pixels between two inner lips, each [K, 2] from corner to corner, shrunk by one pixel."""
    outline = np.concatenate([upper, lower[::-1]])
    filled = np.zeros(shape, np.uint8)
    cv2.fillPoly(filled, [np.round(outline).astype(np.int32)], (1,))
    return np.asarray(cv2.erode(filled, np.ones((3, 3), np.uint8)) > 0)


def flicker(frames: NDArray[np.uint8], still: Iterable[Mask]) -> float:
    """Mean change from frame to frame where skin rests, grey levels; NaN where it never does.

    Args:
        frames: RGB uint8 [T, H, W, 3].
        still: skin that rests between each frame and the next, T - 1 masks [H, W].
    """
    total, pixels = 0.0, 0
    for change, where in zip(_luma_changes(frames), still, strict=True):
        total += float(change[where].sum())
        pixels += int(where.sum())
    return total / pixels if pixels else float("nan")


def still_in_truth(truth: NDArray[np.uint8], cover: NDArray[np.uint8]) -> Iterator[Mask]:
    """Skin that rests from one true frame [T, H, W, 3] to the next.

    Args:
        cover: where skin may move, uint8 [H, W].
    """
    for change in _luma_changes(truth):
        yield (change <= 1) & (cover > 127)


def _luma_changes(frames: NDArray[np.uint8]) -> Iterator[NDArray[np.int16]]:
    """Absolute change of the luma from each frame to the next, [H, W]."""
    luma = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.int16) for frame in frames)
    for before, after in pairwise(luma):
        yield np.abs(after - before)
