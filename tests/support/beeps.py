"""Beeps as test speech: the onset of each is compared with the flash in the picture."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE = 48_000
PERIOD_S = 1.0
FIRST_S = 0.32  # on the edge of a frame, so that a flash begins exactly with its beep
BEEP_S = 0.12


def beeps(seconds: float, *, rate: int = RATE) -> NDArray[np.int16]:
    """A beep in every second, int16 [N], silence between."""
    time = np.arange(round(seconds * rate)) / rate
    phase = time % PERIOD_S
    sounding = (phase >= FIRST_S) & (phase < FIRST_S + BEEP_S)
    return np.where(sounding, 16_000 * np.sin(2 * np.pi * 1000 * time), 0).astype(np.int16)


def write_wav(path: Path, pcm: NDArray[np.int16], rate: int = RATE) -> Path:
    """Write mono int16 [N]."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm.astype("<i2").tobytes())
    return path
