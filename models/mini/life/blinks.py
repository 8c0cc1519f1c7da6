"""Blinks: in clusters, at intervals as people's, more of them at the ends of phrases."""

from __future__ import annotations

import math

import numpy as np

GAP_S = (2.0, 8.0)
"""Least and most between two clusters while idle; talking shortens both by ``TALKING``."""
MEDIAN_GAP_S = 3.8
TALKING = 0.8
EVOKED_GAP_S = 1.2
"""The end of a phrase or a large shift of gaze evokes no blink sooner after another."""
MORE = (0.15, 0.02)
"""Shares of clusters with two and with three blinks."""
PARTIAL = 0.12
"""Share of blinks in which the lids do not meet."""

_GAP_SIGMA = 0.45
_WITHIN_S = (0.32, 0.6)
_CLOSE_S = (0.08, 0.12)
_SHUT_S = (0.0, 0.04)
_OPEN_S = (0.16, 0.2)
_DEPTH = (0.5, 0.8)


class BlinkTrack:
    """An endless track of closure, 0 open, 1 shut."""

    def __init__(self, rng: np.random.Generator, fps: float) -> None:
        self._rng = rng
        self._fps = fps
        self._queue: list[float] = []
        self._now = 0.0
        self._last = -math.inf
        self._due = float(rng.uniform(0.8, 0.5 * sum(GAP_S)))

    def step(self, *, talking: bool = False, evoked: float = 0.0) -> float:
        """The next frame's closure.

        Args:
            talking: blinks come sooner.
            evoked: probability that something in this frame makes the person blink.
        """
        wants = evoked > 0.0 and float(self._rng.random()) < evoked
        if not self._queue and (
            self._now >= self._due or (wants and self._now - self._last >= EVOKED_GAP_S)
        ):
            self._queue = self._cluster()
            self._last = self._now + len(self._queue) / self._fps
            self._due = self._now + self._gap(TALKING if talking else 1.0)
        self._now += 1 / self._fps
        return self._queue.pop(0) if self._queue else 0.0

    def _gap(self, scale: float) -> float:
        gap = MEDIAN_GAP_S * math.exp(_GAP_SIGMA * float(self._rng.standard_normal()))
        return scale * min(max(gap, GAP_S[0]), GAP_S[1])

    def _cluster(self) -> list[float]:
        draw = float(self._rng.random())
        count = 3 if draw < MORE[1] else 2 if draw < sum(MORE) else 1
        values = self._blink()
        for _ in range(count - 1):
            begin = round(float(self._rng.uniform(*_WITHIN_S)) * self._fps)
            values += [0.0] * max(1, begin - len(values)) + self._blink()
        return values

    def _blink(self) -> list[float]:
        """Lids that close in 2 or 3 frames of 1/25 s and open in 4 or 5."""
        rng, fps = self._rng, self._fps
        depth = float(rng.uniform(*_DEPTH)) if float(rng.random()) < PARTIAL else 1.0
        closing = max(1, round(float(rng.uniform(*_CLOSE_S)) * fps))
        shut = round(float(rng.uniform(*_SHUT_S)) * fps)
        opening = max(1, round(float(rng.uniform(*_OPEN_S)) * fps))
        down = [math.sin(0.5 * math.pi * (k + 1) / closing) ** 1.5 for k in range(closing)]
        up = [(1 - (k + 1) / opening) ** 1.4 for k in range(opening)]
        return [depth * value for value in (*down, *[1.0] * shut, *up)]
