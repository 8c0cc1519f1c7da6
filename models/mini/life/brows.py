"""Brows: they wander a little, and rise with some stressed syllables."""

from __future__ import annotations

import math

import numpy as np

from models.mini.motion import BROW_LIMIT

_WANDER = 0.22
_WANDER_S = (1.5, 5.0)
_LOW_PASS_S = 0.3
_RAISE = (0.15, 0.4)
_UP_S, _DOWN_S = 0.16, 0.36
_HOLD_S = (0.05, 0.3)


class BrowTrack:
    """An endless track of the brows, 0 at rest, at most ``BROW_LIMIT``."""

    def __init__(self, rng: np.random.Generator, fps: float) -> None:
        self._rng = rng
        self._fps = fps
        self._keep = math.exp(-1 / (fps * _LOW_PASS_S))
        self._now = 0.0
        self._target = 0.0
        self._until = float(rng.uniform(*_WANDER_S))
        self._slow = [0.0, 0.0]
        self._raise: list[float] = []

    def step(self, *, raised: float = 0.0) -> float:
        """The next frame; ``raised`` is the probability that the brows rise from here."""
        rng = self._rng
        if self._now >= self._until:
            self._target = _WANDER * float(rng.random()) ** 1.7
            self._until = self._now + float(rng.uniform(*_WANDER_S))
        if raised > 0.0 and float(rng.random()) < raised and not self._raise:
            self._raise = self._shape()
        for k, value in enumerate((self._target, self._slow[0])):
            self._slow[k] += (1 - self._keep) * (value - self._slow[k])
        self._now += 1 / self._fps
        return min(self._slow[1] + (self._raise.pop(0) if self._raise else 0.0), BROW_LIMIT)

    def _shape(self) -> list[float]:
        height = float(self._rng.uniform(*_RAISE))
        up, down = (max(1, round(seconds * self._fps)) for seconds in (_UP_S, _DOWN_S))
        hold = round(float(self._rng.uniform(*_HOLD_S)) * self._fps)
        rise = [_ease((k + 1) / up) for k in range(up)]
        fall = [_ease(1 - (k + 1) / down) for k in range(down)]
        return [height * value for value in (*rise, *[1.0] * hold, *fall)]


def _ease(share: float) -> float:
    return 0.5 - 0.5 * math.cos(math.pi * share)
