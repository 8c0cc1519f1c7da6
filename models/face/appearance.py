"""Measures what a face looks like in a picture: its mouth, glasses, colours, sharpness, light.

The thresholds were set on 257 portraits of the photo pack, 56 with glasses and 59 with teeth.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face.geometry import cut, square_around
from models.face.landmarks import INNER_LIPS, Landmarks
from models.face.report import MouthState

SIDE = 256
UNIT = 88.0
"""Distance from the eyes to the mouth in the square that is measured, pixels."""

_BETWEEN_LIPS = (*INNER_LIPS[0][:-1], *INNER_LIPS[1][:0:-1])
"""Their inner edges, once around."""
_LIP_MIDDLES = (13, 14)
_MOUTH_CORNERS = (61, 291)
_EYE_CORNERS = (33, 263)
_CHEEKS = (50, 280)
_BROW_MIDDLE, _NOSE_RIDGE = 9, 195

PARTED, OPEN = 0.03, 0.08
"""Gap between the lips from which a mouth is parted, or open; shares of the eyes' distance."""
_SMILE_GAP, _SMILE_WIDTH, _SMILE_TEETH, _SMILE_LIFT = 0.06, 0.66, 0.004, 0.03
"""Gap, width, area of teeth (in squares of the eyes' distance) and height of the corners from which
it is a smile."""
_NO_BRIDGE, _BRIDGE = 0.03, 0.12
"""Contrast of a bar across the nose below and above which glasses are certain: above are 43 of 56
portraits with glasses and 3 of 201 without, below none with."""
_GREY = 5.0
"""Mean spread of the three colours below which a picture has none."""
_BLUR_RANGE = (0.8, 0.3)
"""Blur effect of a face without any detail, and of the sharpest photographs."""
_BLUR_REACH = 11
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class FaceLook:
    """What a face looks like.

    Attributes:
        mouth: how it is held.
        glasses: whether there are any; None where that is not certain.
        black_and_white: the face has no colours.
        sharpness: 0 (blurred) to 1.
        light: brightness of its lightest parts, 0 to 255, which any skin has in good light.
    """

    mouth: MouthState
    glasses: bool | None
    black_and_white: bool
    sharpness: float
    light: float


@dataclass(frozen=True)
class _Close:
    """A face, upright: RGB uint8 [SIDE, SIDE, 3], landmarks [468, 2], pixels for one of the
    picture."""

    picture: NDArray[np.uint8]
    points: NDArray[np.float64]
    scale: float

    @property
    def eye_distance(self) -> float:
        """Between the eyes' outer corners, pixels."""
        return max(self._pixels(_EYE_CORNERS), 1.0)

    def distance(self, pair: tuple[int, int]) -> float:
        """Between two landmarks, in shares of ``eye_distance``."""
        return self._pixels(pair) / self.eye_distance

    def _pixels(self, pair: tuple[int, int]) -> float:
        one, other = pair
        return float(np.linalg.norm(self.points[other] - self.points[one]))


def look_at(picture: NDArray[np.uint8], landmarks: Landmarks) -> FaceLook:
    """Measure a face in RGB uint8 [H, W, 3]."""
    eyes, mouth = landmarks.eyes.mean(0), landmarks.mouth
    side = SIDE * max(float(np.linalg.norm(mouth - eyes)), 1.0) / UNIT
    square = square_around((eyes + mouth) / 2, side, landmarks.roll, SIDE)
    points = square.apply(landmarks.points[:, :2])
    close = _Close(cut(picture, square, SIDE, "edge"), points, square.scale)
    spread = np.ptp(close.picture.astype(np.float32), axis=2)
    light = float(np.percentile(close.picture.astype(np.float32) @ _LUMA, 95))
    return FaceLook(
        _mouth(close), _glasses(close), bool(spread.mean() < _GREY), _sharpness(close), light
    )


def _mouth(close: _Close) -> MouthState:
    gap = close.distance(_LIP_MIDDLES)
    if (
        gap >= _SMILE_GAP
        and close.distance(_MOUTH_CORNERS) >= _SMILE_WIDTH
        and _lift(close) >= _SMILE_LIFT
        and _teeth(close) >= _SMILE_TEETH
    ):
        return "smile_with_teeth"
    if gap >= OPEN:
        return "open"
    return "parted" if gap >= PARTED else "closed"


def _lift(close: _Close) -> float:
    """How far the corners of the mouth lie above its middle, in shares of the eyes' distance."""
    middle, corners = (
        close.points[list(pair), 1].mean() for pair in (_LIP_MIDDLES, _MOUTH_CORNERS)
    )
    return float(middle - corners) / close.eye_distance


def _teeth(close: _Close) -> float:
    """Area between the lips that is light and hardly red, in squares of the eyes' distance."""
    between = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(between, [np.round(close.points[list(_BETWEEN_LIPS)]).astype(np.int32)], (1,))
    inside = close.picture[between > 0].astype(np.float32)
    skin = np.concatenate([_around(close, point) for point in _CHEEKS])
    redness = float(np.median(skin[:, 0] - skin[:, 2]))
    light = inside @ _LUMA > 0.62 * float(np.median(skin @ _LUMA))
    white = inside[:, 0] - inside[:, 2] < max(0.75 * redness, 25)
    return float((light & white).sum()) / close.eye_distance**2


def _around(close: _Close, point: int, half: int = 8) -> NDArray[np.float32]:
    """Pixels [N, 3] around a landmark."""
    x, y = np.clip(np.round(close.points[point]).astype(int), half, SIDE - half - 1)
    around = close.picture[y - half : y + half, x - half : x + half]
    return around.reshape(-1, 3).astype(np.float32)


def _glasses(close: _Close) -> bool | None:
    """By the bar across the nose: an edge down and an edge up, both strong."""
    top, bottom = close.points[_BROW_MIDDLE], close.points[_NOSE_RIDGE]
    half = max(2, round(0.05 * close.eye_distance))
    x = int(np.clip(round((top[0] + bottom[0]) / 2), half, SIDE - half - 1))
    low, high = (int(np.clip(y, 0, SIDE - 1)) for y in (top[1], bottom[1]))
    grey = cv2.cvtColor(close.picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    profile = cv2.GaussianBlur(grey, (0, 0), 1.0)[low:high, x - half : x + half + 1].mean(1)
    if len(profile) < 3:
        return None
    steps = np.diff(profile)
    contrast = min(steps.max(), -steps.min()) / max(float(profile.mean()), 30.0)
    if contrast >= _BRIDGE:
        return True
    return False if contrast < _NO_BRIDGE else None


def _sharpness(close: _Close) -> float:
    """By how much blurring changes the face, at its own resolution where that is lower (the blur
    effect of Crete et al., 2007)."""
    grey = cv2.cvtColor(close.picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    if close.scale > 1:
        side = max(32, round(SIDE / close.scale))
        grey = np.asarray(cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA), np.float32)
    rim = len(grey) // 8
    worst = 0.0
    for axis, kernel in ((0, (1, _BLUR_REACH)), (1, (_BLUR_REACH, 1))):
        before, after = (
            np.abs(np.diff(plane, axis=axis))[rim:-rim, rim:-rim]
            for plane in (grey, cv2.blur(grey, kernel))
        )
        kept = 1 - float(np.maximum(0, before - after).sum()) / max(float(before.sum()), 1e-6)
        worst = max(worst, kept)
    blurred, sharp = _BLUR_RANGE
    return float(np.clip((blurred - worst) / (blurred - sharp), 0, 1))
