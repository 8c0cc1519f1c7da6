"""The procedural motion track: head pose, blinks, gaze and brows, frame by frame.

The same track drives the renderer that makes training data and the bundled model at run time, so
what a clip shows is explained by these numbers and the mouth blendshapes, and by nothing else.

Signs, seen by the viewer: yaw > 0 turns to the picture's right, pitch > 0 nods down, roll > 0 tips
the crown to the picture's left. Gaze is relative to the head, with the same signs.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

MOTION = ("yaw", "pitch", "roll", "blink", "gaze_yaw", "gaze_pitch", "brow")
"""Columns of a motion track: radians, but blink and brow are 0..1."""
HEAD = 3
"""The first columns are the head's pose."""

EXPRESSION = MOTION[HEAD:]
"""The columns that the network is told: blink, gaze and brow. The head's pose moves the picture."""

MOUTH_UNITS = (
    "jawOpen",
    "mouthFunnel",
    "mouthPucker",
    "mouthStretch",
    "mouthUpperUp",
    "mouthLowerDown",
    "mouthClose",
    "mouthPress",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthSmile",
    "mouthShrugUpper",
    "tongueOut",
)
"""ARKit blendshapes of the mouth, columns of a mouth track, 0..1; both sides move together."""

OPENING_UNITS = (
    "jawOpen",
    "mouthFunnel",
    "mouthPucker",
    "mouthStretch",
    "mouthUpperUp",
    "mouthLowerDown",
)
"""Of them those that open or shape the lips; the others close or press them."""

HEAD_SD = (0.035, 0.022, 0.018)
"""Standard deviation of yaw, pitch and roll, radians."""
HEAD_LIMIT = 2.5
"""No head angle goes beyond this many standard deviations."""
BROW_LIMIT = 0.6
BLINK_SHAPE = (0.4, 0.9, 1.0, 0.8, 0.45, 0.15)
BLINK_FPS = 25.0
"""Frame rate that the blink's shape is written for."""

_HEAD_SECONDS = 0.8
_BROW_SECONDS = 0.3
_GAZE_SD = (0.05, 0.025)
_GAZE_LIMIT = (0.10, 0.05)
_GAZE_PULL = 0.6
"""Share of the way to its new target that the eye goes in one frame of 1/25 s."""
_COMPENSATION = 0.6
"""Share of the head's rotation that the eyes undo."""


class IdleMotion:
    """An endless, deterministic motion track.

    ``frames`` may be called with any sizes: the frames are the same as from one long call.

    Args:
        seed: names the track.
        fps: frames per second of media time.
        scale: size of head, gaze and brow movement; blinks keep their shape.
        head: size of the head's movement, on top of ``scale``.

    Raises:
        ValueError: fps is not positive, or scale or head is negative.
    """

    def __init__(
        self, seed: int, fps: float = 25.0, scale: float = 1.0, *, head: float = 1.0
    ) -> None:
        if not fps > 0.0:
            raise ValueError(f"fps: expected a positive number, got {fps}")
        if not scale >= 0.0:
            raise ValueError(f"scale: expected zero or more, got {scale}")
        self.fps = fps
        if not head >= 0.0:
            raise ValueError(f"head: expected zero or more, got {head}")
        self.scale = scale
        self.head = head
        streams = [np.random.default_rng([seed, k]) for k in range(4)]
        self._head_rng, self._blink_rng, self._gaze_rng, self._brow_rng = streams
        self._frame = 0
        self._slow = np.zeros((2, 3))
        self._blink_at = float(self._blink_rng.uniform(1.0, 4.0))
        self._blink_queue: list[float] = []
        self._gaze = np.zeros(2)
        self._gaze_target = np.zeros(2)
        self._gaze_at = float(self._gaze_rng.uniform(0.6, 2.0))
        self._brow = np.zeros(2)
        self._brow_target = 0.0
        self._brow_at = float(self._brow_rng.uniform(0.8, 2.5))

    def frames(self, n: int) -> NDArray[np.float32]:
        """The next n frames, float32 [n, 7], columns as in ``MOTION``.

        Raises:
            ValueError: n is negative.
        """
        if n < 0:
            raise ValueError(f"n: expected zero or more frames, got {n}")
        out = np.empty((n, len(MOTION)), np.float32)
        for row in out:
            now = self._frame / self.fps
            head = self._step_head()
            row[0:3] = head
            row[3] = self._step_blink(now)
            row[4:6] = self._step_gaze(now) - _COMPENSATION * head[:2]
            row[6] = self._step_brow(now)
            self._frame += 1
        return out

    def _step_head(self) -> NDArray[np.float64]:
        """Noise through two equal low-pass filters, scaled to unit variance, softly limited."""
        a = math.exp(-1.0 / (self.fps * _HEAD_SECONDS))
        self._slow[0] = a * self._slow[0] + (1.0 - a) * self._head_rng.standard_normal(3)
        self._slow[1] = a * self._slow[1] + (1.0 - a) * self._slow[0]
        sd = math.sqrt((1.0 - a) ** 4 * (1.0 + a * a) / (1.0 - a * a) ** 3)
        unit = 1.12 * self._slow[1] / sd
        limited: NDArray[np.float64] = HEAD_LIMIT * np.tanh(unit / HEAD_LIMIT)
        angles: NDArray[np.float64] = limited * np.asarray(HEAD_SD) * self.scale * self.head
        return angles

    def _step_blink(self, now: float) -> float:
        if not self._blink_queue and now >= self._blink_at:
            self._blink_queue = self._blink_values()
            self._blink_at = now + float(self._blink_rng.uniform(2.0, 5.0))
        return self._blink_queue.pop(0) if self._blink_queue else 0.0

    def _blink_values(self) -> list[float]:
        double = float(self._blink_rng.random()) < 0.15
        shape = (*BLINK_SHAPE, 0.0, *BLINK_SHAPE) if double else BLINK_SHAPE
        count = max(1, round(len(shape) * self.fps / BLINK_FPS))
        at = (np.arange(count) + 0.5) * len(shape) / count - 0.5
        values: list[float] = np.interp(at, np.arange(len(shape)), shape).tolist()
        return values

    def _step_gaze(self, now: float) -> NDArray[np.float64]:
        if now >= self._gaze_at:
            draw = self._gaze_rng.standard_normal(2) * np.asarray(_GAZE_SD)
            back = float(self._gaze_rng.random()) < 0.4
            limit = np.asarray(_GAZE_LIMIT)
            self._gaze_target = np.zeros(2) if back else np.clip(draw, -limit, limit)
            self._gaze_at = now + float(self._gaze_rng.uniform(0.6, 2.4))
        pull = 1.0 - (1.0 - _GAZE_PULL) ** (25.0 / self.fps)
        self._gaze += pull * (self._gaze_target - self._gaze)
        gaze: NDArray[np.float64] = self._gaze * self.scale
        return gaze

    def _step_brow(self, now: float) -> float:
        if now >= self._brow_at:
            self._brow_target = BROW_LIMIT * float(self._brow_rng.random()) ** 1.7
            self._brow_at = now + float(self._brow_rng.uniform(1.0, 3.5))
        a = math.exp(-1.0 / (self.fps * _BROW_SECONDS))
        self._brow[0] += (1.0 - a) * (self._brow_target - self._brow[0])
        self._brow[1] += (1.0 - a) * (self._brow[0] - self._brow[1])
        return min(float(self._brow[1]) * self.scale, 1.0)
