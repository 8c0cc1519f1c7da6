"""Gaze: saccades between fixations, most of them on the viewer."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FIXATION_S = (0.5, 3.0)
AWAY_LIMIT = (0.10, 0.05)
"""How far the gaze leaves the viewer at most, radians of yaw and pitch."""
LARGE = 0.05
"""A shift of more than this moves the head too, and may come with a blink."""

_VIEWER = 0.7
_VIEWER_LISTENING = 0.92
_AWAY_AT_BEGIN = 0.3
_MEDIAN_S = 1.2
_SIGMA = 0.5
_AWAY_SHARE = 0.7
_VIEWER_SD = (0.010, 0.006)
_AWAY_SD = (0.075, 0.032)
_SHORTEST_S = 0.25
"""What begins or ends a phrase does not move a gaze that only just came to rest."""
_SETTLE = 0.7
"""Share of the way to its target that the eye goes in one frame of 1/25 s."""


class GazeTrack:
    """Where the person looks, relative to the viewer; radians of yaw and pitch.

    Attributes:
        target: of the present fixation.
        shifted: the last step began a saccade of more than ``LARGE``.
    """

    def __init__(self, rng: np.random.Generator, fps: float) -> None:
        self._rng = rng
        self._fps = fps
        self._settle = 1 - (1 - _SETTLE) ** (25.0 / fps)
        self._now = 0.0
        self._since = 0.0
        self._until = self._duration()
        self._place: NDArray[np.float64] = np.zeros(2)
        self.target: NDArray[np.float64] = np.zeros(2)
        self.shifted = False

    def step(
        self, *, begins: bool = False, ends: bool = False, listening: bool = False
    ) -> NDArray[np.float64]:
        """The next frame's gaze [2].

        Args:
            begins, ends: of a phrase; people look away when they begin, and back when they end.
            listening: somebody speaks to the person, who looks there.
        """
        before = self.target
        rested = self._now - self._since >= _SHORTEST_S
        if begins and rested and float(self._rng.random()) < _AWAY_AT_BEGIN:
            self._fixate(away=True)
        elif ends and rested and math.hypot(*self.target) > LARGE:
            self._fixate(away=False)
        elif self._now >= self._until:
            viewer = _VIEWER_LISTENING if listening else _VIEWER
            self._fixate(away=float(self._rng.random()) >= viewer)
        self.shifted = math.hypot(*(self.target - before)) > LARGE
        self._now += 1 / self._fps
        self._place = self._place + self._settle * (self.target - self._place)
        return self._place

    def _fixate(self, *, away: bool) -> None:
        sd = np.asarray(_AWAY_SD if away else _VIEWER_SD)
        limit = np.asarray(AWAY_LIMIT)
        self.target = np.clip(self._rng.standard_normal(2) * sd, -limit, limit)
        self._since = self._now
        self._until = self._now + self._duration() * (_AWAY_SHARE if away else 1.0)

    def _duration(self) -> float:
        drawn = _MEDIAN_S * math.exp(_SIGMA * float(self._rng.standard_normal()))
        return min(max(drawn, FIXATION_S[0] / _AWAY_SHARE), FIXATION_S[1])
