"""The body: it breathes, and sways slowly."""

from __future__ import annotations

import math

import numpy as np

BREATH_HZ = (0.2, 0.28)

_IN = 0.42
"""Share of a breath in which air goes in."""
_DEPTH = (0.8, 1.0)
_SWAY_S = 1.8


class BodyTrack:
    """An endless track of breath, 0..1, and sway, -1..1."""

    def __init__(self, rng: np.random.Generator, fps: float) -> None:
        self._rng = rng
        self._fps = fps
        self._keep = math.exp(-1 / (fps * _SWAY_S))
        self._slow = [0.0, 0.0]
        self._phase = float(rng.random())
        self._draw_breath()

    def step(self) -> tuple[float, float]:
        """The next frame's sway and breath."""
        self._phase += self._hertz / self._fps
        if self._phase >= 1:
            self._phase -= 1
            self._draw_breath()
        turn = self._phase / _IN if self._phase < _IN else (1 - self._phase) / (1 - _IN)
        breath = self._depth * (0.5 - 0.5 * math.cos(math.pi * turn))
        noise = float(self._rng.standard_normal())
        for k, value in enumerate((noise, self._slow[0])):
            self._slow[k] = self._keep * self._slow[k] + (1 - self._keep) * value
        a = self._keep
        sd = math.sqrt((1 - a) ** 4 * (1 + a * a) / (1 - a * a) ** 3)
        return math.tanh(self._slow[1] / sd / 2), breath

    def _draw_breath(self) -> None:
        self._hertz = float(self._rng.uniform(*BREATH_HZ))
        self._depth = float(self._rng.uniform(*_DEPTH))
