"""Sounds to push: all different from silence, so that what is played can be compared exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def speech(seconds: float, rate: int = 48_000, *, seed: int = 0) -> NDArray[np.int16]:
    """Noise as loud as speech, int16 [N], no sample zero."""
    generator = np.random.default_rng(seed)
    samples = generator.integers(2_000, 12_000, round(seconds * rate))
    samples[::2] *= -1
    return samples.astype(np.int16)


def room(seconds: float, rate: int = 48_000) -> NDArray[np.int16]:
    """A quiet room, int16 [N], under the voice gate but not zero."""
    samples = np.full(round(seconds * rate), 40, np.int16)
    samples[::2] = -40
    return samples
