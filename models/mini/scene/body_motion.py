"""Breathing and slow sway of the body, frame by frame."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

BREATH = 0.0022
"""How far a breath lifts head and shoulders, as a share of the picture's side."""
SWAY = 0.0012
"""Standard deviation of the slow movement to the side, the same share."""
_BREATH_SECONDS = (3.4, 4.8)
_IN = 0.42
"""Share of a breath in which air goes in."""
_SWAY_SECONDS = 1.6


class BodyMotion:
    """An endless, deterministic track; any split into calls gives the same frames.

    Args:
        seed: names the track.
        fps: frames per second of media time.
    """

    def __init__(self, seed: int, fps: float = 25.0) -> None:
        self.fps = fps
        self._breath_rng, self._sway_rng = (np.random.default_rng([seed, 10 + k]) for k in range(2))
        self._phase = float(self._breath_rng.uniform())
        self._seconds = float(self._breath_rng.uniform(*_BREATH_SECONDS))
        self._slow = np.zeros(2)

    def frames(self, count: int) -> NDArray[np.float32]:
        """The next frames, float32 [count, 2]: sway and breath, shares of the picture's side."""
        return np.array([self._step() for _ in range(count)], np.float32).reshape(count, 2)

    def _step(self) -> tuple[float, float]:
        self._phase += 1 / (self.fps * self._seconds)
        if self._phase >= 1:
            self._phase -= 1
            self._seconds = float(self._breath_rng.uniform(*_BREATH_SECONDS))
        turn = self._phase / _IN if self._phase < _IN else (1 - self._phase) / (1 - _IN)
        a = math.exp(-1 / (self.fps * _SWAY_SECONDS))
        self._slow[0] = a * self._slow[0] + (1 - a) * self._sway_rng.standard_normal()
        self._slow[1] = a * self._slow[1] + (1 - a) * self._slow[0]
        sd = math.sqrt((1 - a) ** 4 * (1 + a * a) / (1 - a * a) ** 3)
        sway = SWAY * 2 * math.tanh(float(self._slow[1]) / sd / 2)
        return sway, BREATH * (0.5 - 0.5 * math.cos(math.pi * turn))
