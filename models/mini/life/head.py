"""The head: it drifts, takes new postures, follows large shifts of gaze, and nods."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.mini.life.accents import SpeechCue
from models.mini.motion import HEAD_SD

HEAD_BOUND = (0.12, 0.085, 0.06)
"""Yaw, pitch and roll never reach these, radians."""
ACCENT_NOD = (math.radians(1.0), math.radians(2.0))
ACCENT_NOD_S = (0.28, 0.42)
CALLER_NOD = (math.radians(1.6), math.radians(2.8))
CALLER_NOD_S = (0.42, 0.6)

_NOD_GAP_S = 0.45
_NODS, _TILTS = 0.7, 0.2
"""Shares of accents that the head nods with, and tilts with."""
_DOUBLE = 0.35
_DRIFT = (0.4, 0.9)
"""Size of the drift, idle and talking, as a share of ``HEAD_SD``."""
_DRIFT_S = 0.8
_POSTURE_SD = (0.030, 0.013, 0.018)
_POSTURE_S = ((4.0, 9.0), (1.6, 4.0))
_POSTURE = (0.7, 1.0)
_TILT = 0.022
_FOLLOW = 0.35
"""Share of a large shift of gaze that the head turns by."""
_SPRING_HZ = 0.6
_ATTACK_S, _RELEASE_S = 0.3, 1.2


@dataclass(frozen=True, slots=True)
class _Nod:
    """A nod that begins at a time of the head's own clock."""

    begin: float
    seconds: float
    depth: float

    def at(self, now: float) -> float:
        """Pitch; quicker down than up, without a jerk at either end."""
        share = (now - self.begin) / self.seconds
        return self.depth * math.sin(math.pi * share**0.85) ** 2 if 0 < share < 1 else 0.0


class HeadTrack:
    """An endless track of yaw, pitch and roll."""

    def __init__(self, rng: np.random.Generator, fps: float) -> None:
        self._rng = rng
        self._fps = fps
        self._now = 0.0
        self._slow = np.zeros((2, 3))
        self._posture: NDArray[np.float64] = np.zeros(3)
        self._posture_until = float(rng.uniform(1.0, 4.0))
        self._place: NDArray[np.float64] = np.zeros(3)
        self._speed: NDArray[np.float64] = np.zeros(3)
        self._activity = 0.0
        self._nods: list[_Nod] = []
        self._nod_free = 0.0

    def step(
        self, cue: SpeechCue, gaze: NDArray[np.float64], *, large: float, caller_nod: bool
    ) -> NDArray[np.float64]:
        """The next frame's angles [3].

        Args:
            cue: of the person's own speech.
            gaze: target of the present fixation [2].
            large: the head follows a gaze that is further away than this.
            caller_nod: nod to the caller from here.
        """
        self._now += 1 / self._fps
        seconds = _ATTACK_S if cue.talking else _RELEASE_S
        self._activity += (float(cue.talking) - self._activity) / (self._fps * seconds)
        if cue.accent:
            self._accentuate(cue.accent)
        if caller_nod:
            self._nod(CALLER_NOD, CALLER_NOD_S, float(self._rng.random()), _DOUBLE)
        goal = self._next_posture(talking=cue.talking)
        if math.hypot(*gaze) > large:
            goal = goal + _FOLLOW * np.array([gaze[0], gaze[1], 0.0])
        self._approach(goal)
        self._nods = [nod for nod in self._nods if nod.begin + nod.seconds > self._now]
        total = self._place + self._drift()
        total[1] += sum(nod.at(self._now) for nod in self._nods)
        bound = np.asarray(HEAD_BOUND)
        angles: NDArray[np.float64] = bound * np.tanh(total / bound)
        return angles

    def _accentuate(self, strength: float) -> None:
        kind, force = (float(value) for value in self._rng.random(2))
        if force > 0.4 + 0.6 * strength:
            return
        if kind < _NODS:
            self._nod(ACCENT_NOD, ACCENT_NOD_S, strength, 0.0)
        elif kind < _NODS + _TILTS:
            roll = _TILT * float(self._rng.standard_normal())
            self._posture = self._posture + np.array([0.5 * roll, 0.0, roll])

    def _nod(
        self,
        depths: tuple[float, float],
        lengths: tuple[float, float],
        strength: float,
        double: float,
    ) -> None:
        """Nod unless one has just begun; ``double`` is the probability of a second, smaller one.

        Deep nods are slow ones.
        """
        length, again = self._rng.random(2)
        if self._now < self._nod_free:
            return
        seconds = lengths[0] + 0.5 * (strength + float(length)) * (lengths[1] - lengths[0])
        depth = depths[0] + strength * (depths[1] - depths[0])
        begin = self._now - 1 / self._fps
        self._nods.append(_Nod(begin, seconds, depth))
        if again < double:
            self._nods.append(_Nod(begin + seconds, seconds, 0.6 * depth))
            seconds *= 2
        self._nod_free = begin + max(seconds, _NOD_GAP_S)

    def _next_posture(self, *, talking: bool) -> NDArray[np.float64]:
        if self._now >= self._posture_until:
            size = _POSTURE[0] + self._activity * (_POSTURE[1] - _POSTURE[0])
            self._posture = size * self._rng.standard_normal(3) * np.asarray(_POSTURE_SD)
            self._posture_until = self._now + float(self._rng.uniform(*_POSTURE_S[talking]))
        return self._posture

    def _approach(self, goal: NDArray[np.float64]) -> None:
        """A critically damped spring, so that speed never jumps."""
        omega = 2 * math.pi * _SPRING_HZ
        step = 1 / self._fps
        away = self._place - goal
        change = (self._speed + omega * away) * step
        decay = math.exp(-omega * step)
        self._speed = (self._speed - omega * change) * decay
        self._place = goal + (away + change) * decay

    def _drift(self) -> NDArray[np.float64]:
        """Noise through two equal low-pass filters, scaled to unit variance."""
        a = math.exp(-1.0 / (self._fps * _DRIFT_S))
        self._slow[0] = a * self._slow[0] + (1.0 - a) * self._rng.standard_normal(3)
        self._slow[1] = a * self._slow[1] + (1.0 - a) * self._slow[0]
        sd = math.sqrt((1.0 - a) ** 4 * (1.0 + a * a) / (1.0 - a * a) ** 3)
        size = _DRIFT[0] + self._activity * (_DRIFT[1] - _DRIFT[0])
        drift: NDArray[np.float64] = size * self._slow[1] / sd * np.asarray(HEAD_SD)
        return drift
