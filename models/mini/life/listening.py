"""Nods of a listener: at the ends of the caller's phrases, and now and then in long ones."""

from __future__ import annotations

import numpy as np

SPOKEN_S = 0.7
"""Only after so much speech of the caller is there something to nod to."""
GAP_S = 1.2
"""No two nods are closer."""

_AT_END = 0.8
_WITHIN_S = (3.0, 6.5)


class ListeningNods:
    """Decides, frame by frame, when to nod."""

    def __init__(self, rng: np.random.Generator, fps: float) -> None:
        self._rng = rng
        self._fps = fps
        self._spoken = 0.0
        self._rest = 0.0
        self._within = float(rng.uniform(*_WITHIN_S))

    def step(self, *, caller_speaks: bool, talking: bool) -> bool:
        """Whether a nod begins in the next frame.

        Args:
            caller_speaks: the caller does, in this frame.
            talking: the person talks, who then nods at the ends alone.
        """
        second = 1 / self._fps
        self._rest -= second
        if caller_speaks:
            self._spoken += second
            self._within -= second
            if self._spoken < SPOKEN_S or self._within > 0 or talking:
                return False
            return self._nod(1.0)
        spoken, self._spoken = self._spoken, 0.0
        return spoken >= SPOKEN_S and self._nod(_AT_END)

    def _nod(self, probability: float) -> bool:
        self._within = float(self._rng.uniform(*_WITHIN_S))
        if float(self._rng.random()) >= probability or self._rest > 0:
            return False
        self._rest = GAP_S
        return True
