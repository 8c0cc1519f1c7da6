"""A bundled portrait that speaks by warping: frames, sound and true units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from models.audio import SAMPLE_RATE
from models.dataset.clips import FPS, FRAME_SAMPLES
from models.face.landmarks import move_landmarks
from models.face.portrait import Portrait, prepare_portrait
from models.face.window import SIDE
from models.io.image import load_image
from models.mini.motion import EXPRESSION, MOUTH_UNITS
from models.mini.scene.skin_motion import SkinMotion
from models.weights.bundled import avatar_picture

JAW = MOUTH_UNITS.index("jawOpen")


@cache
def speaker() -> Portrait:
    """The portrait at rest."""
    return prepare_portrait(load_image(avatar_picture("ada")))


@cache
def _skin() -> SkinMotion:
    portrait = speaker()
    points = move_landmarks(portrait.landmarks, portrait.to_window).points
    return SkinMotion(points, portrait.cover)


@dataclass(frozen=True)
class Speaking:
    """T frames of a portrait whose jaw follows ``jaw`` [T] while its head sways."""

    jaw: NDArray[np.float64]

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """RGB uint8 [512, 512, 3]."""
        for k, opening in enumerate(self.jaw):
            yield _sway(_warp(opening), k)

    def sound(self) -> NDArray[np.float32]:
        """A tone as loud as the jaw is open, mono at 16 kHz, [T * 640]."""
        loudness = np.repeat(self.jaw, FRAME_SAMPLES) + 0.01
        tone = np.sin(2 * np.pi * 200 * np.arange(loudness.size) / SAMPLE_RATE)
        return (0.5 * loudness * tone).astype(np.float32)


def syllables(frames: int) -> Speaking:
    """Openings up to 0.6, three a second, with rests."""
    t = np.arange(frames) / FPS
    open_ = np.maximum(0, np.sin(2 * np.pi * 1.5 * t)) * (0.6 + 0.4 * np.sin(2 * np.pi * 0.4 * t))
    return Speaking(0.6 * open_ * (t > 0.4))


def _warp(opening: float) -> NDArray[np.uint8]:
    """The portrait with its jaw open (0..1)."""
    portrait = speaker()
    mouth = np.zeros(len(MOUTH_UNITS), np.float32)
    mouth[JAW] = opening
    moved = cv2.resize(
        _skin().displacement(mouth, np.zeros(len(EXPRESSION), np.float32)), (SIDE, SIDE)
    )
    inverse = portrait.to_window.inverse()
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    source = inverse.apply(np.stack([x, y], -1) + 0.5 - moved).astype(np.float32) - 0.5
    window = cv2.remap(portrait.picture, source, None, cv2.INTER_LINEAR)  # type: ignore[call-overload]
    frame = portrait.picture.copy()
    matrix = inverse.matrix.copy()
    matrix[:, 2] += matrix[:, :2] @ np.array([0.5, 0.5]) - 0.5
    size = frame.shape[1::-1]
    shown = cv2.warpAffine(window, matrix, size, flags=cv2.INTER_CUBIC)
    inside = cv2.warpAffine(np.full((SIDE, SIDE), 255, np.uint8), matrix, size) > 254
    frame[inside] = shown[inside]
    return frame


def _sway(frame: NDArray[np.uint8], k: int) -> NDArray[np.uint8]:
    """The frame turned and shifted a little."""
    height, width = frame.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, 0.8 * height), 2 * np.sin(k / 20), 1.0)
    matrix[:, 2] += (4 * np.sin(k / 15), 3 * np.cos(k / 18))
    moved = cv2.warpAffine(frame, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)
