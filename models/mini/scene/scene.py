"""One identity's frames: a generated face window laid into the portrait, the head moved."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face.geometry import Similarity
from models.face.landmarks import Landmarks
from models.mini.scene.head_warp import HeadWarp, resample
from models.mini.scene.matte import fill_behind, moving_matte
from models.mini.scene.window_layer import WindowLayer

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]

SHARPEN = 0.35
"""What bilinear resampling takes from the finest detail is given back by this much of it ..."""
_SHARPEN_FROM = 0.5
"""... in full from movements of so many pixels on: at rest nothing is resampled."""
_BAND = 4
"""Rows of the grid in a band of equal sharpening."""


class PortraitScene:
    """A portrait that can be drawn with another face window and another pose.

    The person is a layer of its own over a filled-in background: frame = moved(aP) + (1 - moved(a))
    B, with a the matte, P the picture and B the background, which equals P wherever a < 1. At rest
    this is P, whatever the matte.
    """

    def __init__(
        self,
        picture: Picture,
        person: Floats,
        landmarks: Landmarks,
        to_window: Similarity,
        cover: Floats,
        rest: Picture,
    ) -> None:
        """Compute once per identity.

        Args:
            picture: the portrait at output size, RGB uint8 [H, W, 3].
            person: where the person is in it, float32 [H, W] in [0, 1].
            landmarks: of the face in it.
            to_window: from its pixels to those of the face window.
            cover: where in the window skin may move, float32 [64, 64] in [0, 1].
            rest: its window, encoded and decoded, RGB uint8 [256, 256, 3].
        """
        self._warp = HeadWarp(landmarks, (picture.shape[0], picture.shape[1]))
        matte = np.asarray(moving_matte(person) * 255 + 0.5, np.uint8)
        self._background = fill_behind(picture, person)
        layer = cv2.subtract(picture, self._hidden(matte))
        self._layer = np.dstack([layer, matte])
        lips = to_window.apply(landmarks.lips)
        self.face = WindowLayer(picture, self._layer, rest, cover, to_window, lips)

    def draw(
        self, window: Picture, pose: NDArray[np.floating], moved: Floats | None = None
    ) -> Picture:
        """One frame RGB uint8 [H, W, 3].

        Args:
            window: the generated face window, RGB uint8 [256, 256, 3].
            pose: [5], columns as in ``head_warp.POSE``.
            moved: how far the face's skin has gone, window pixels, float32 [g, g, 2], as
                ``SkinMotion.displacement`` says; None where it rests.
        """
        layer = self._layer.copy()
        layer[self.face.box] = self.face.compose(window, moved)
        move = self._warp.displacement(pose)
        person = resample(layer, self._warp.source(move))
        frame = np.asarray(cv2.cvtColor(person, cv2.COLOR_RGBA2RGB), np.uint8)
        _sharpen(frame, move, _BAND * self._warp.cell)
        behind = self._hidden(np.asarray(cv2.extractChannel(person, 3), np.uint8))
        return np.asarray(cv2.add(frame, behind, dst=frame), np.uint8)

    def _hidden(self, matte: Picture) -> Picture:
        """What shows of the background beside a matte uint8 [H, W]."""
        rest = cv2.bitwise_not(matte)
        return np.asarray(
            cv2.multiply(self._background, cv2.merge([rest] * 3), scale=1 / 255), np.uint8
        )


def _sharpen(picture: Picture, move: Floats, height: int) -> None:
    """Sharpen a resampled picture in place, each band of rows of a ``height`` as its largest
    ``move`` asks."""
    rows = np.abs(move[1:-1]).max((1, 2))
    reach = np.maximum.reduceat(rows, np.arange(0, len(rows), _BAND))
    strengths = SHARPEN * np.minimum(reach / _SHARPEN_FROM, 1)
    moving = np.flatnonzero(strengths)
    if not len(moving):
        return
    part = picture[moving[0] * height : (moving[-1] + 1) * height]
    soft = cv2.GaussianBlur(part, (3, 3), 0)
    for band in moving:
        at = (band - moving[0]) * height
        rows, strength = slice(at, at + height), float(strengths[band])
        cv2.addWeighted(part[rows], 1 + strength, soft[rows], -strength, 0, dst=part[rows])
