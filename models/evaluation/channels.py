"""Simulates devices that degrade speech: a distant microphone in a room, and a telephone.

Both keep the timing, so that the generated mouth can be compared with that of the unprocessed
recording. Sound is mono float32 [N] in [-1, 1]; results are deterministic.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import soxr
from numpy.typing import NDArray

Sound = NDArray[np.float32]

TELEPHONE_RATE = 8_000
TELEPHONE_BAND = (300.0, 3400.0)
_EDGE = 50.0
"""Width of the transition at both ends of the telephone band, Hz."""
_MU = 255.0

_RESPONSE_HZ = (50, 120, 250, 1000, 3000, 5000, 8000)
_RESPONSE_DB = (-30, -12, 0, 0, 6, 0, -15)
"""Frequency response of a small microphone: weak bass, a peak at 3 kHz, weak treble."""
_DIRECT_MS = 5.0
"""Delay of the first reflection after the direct sound, ms."""
_ROOM_SECONDS = 0.3
_ROOM_DB = -6.0
_NOISE_DB = -30.0
_GAIN_DB = -6.0


def telephone(sound: Sound, rate: int) -> Sound:
    """A narrow-band call: 300 to 3400 Hz, 8 kHz, eight bits by the mu-law of ITU-T G.711."""
    low, high = TELEPHONE_BAND
    frequencies, gains = (low - _EDGE, low, high, high + _EDGE), (0.0, 1.0, 1.0, 0.0)
    band = _filtered(sound, rate, lambda hz: np.interp(hz, frequencies, gains))
    narrow = np.clip(soxr.resample(band, rate, TELEPHONE_RATE), -1, 1)
    code = np.round(127 * np.log1p(_MU * np.abs(narrow)) / np.log1p(_MU)) / 127
    decoded = np.sign(narrow) * np.expm1(code * np.log1p(_MU)) / _MU
    return _fitted(np.asarray(soxr.resample(decoded, TELEPHONE_RATE, rate)), sound.size)


def microphone(sound: Sound, rate: int) -> Sound:
    """A laptop across a table: coloured, with reverberation, noise at -30 dB, and half as loud."""
    coloured = _filtered(sound, rate, _small_microphone)
    random = np.random.default_rng(7)
    times = np.arange(round(_ROOM_SECONDS * rate)) / rate
    tail = random.standard_normal(times.size) * 10 ** (-3 * times / _ROOM_SECONDS)
    tail[times < _DIRECT_MS / 1000] = 0
    echo = _convolved(coloured, tail / np.linalg.norm(tail)) * 10 ** (_ROOM_DB / 20)
    level = float(np.sqrt((coloured**2).mean())) * 10 ** (_NOISE_DB / 20)
    noise = level * random.standard_normal(sound.size)
    return _fitted((coloured + echo + noise) * 10 ** (_GAIN_DB / 20), sound.size)


CHANNELS: dict[str, Callable[[Sound, int], Sound]] = {
    "clean": lambda sound, _: sound,
    "microphone": microphone,
    "telephone": telephone,
}
"""Simulated channels by name: (sound, rate in Hz) -> sound. The identity comes first."""


def _small_microphone(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    decibels = np.interp(np.log(np.maximum(hz, 1.0)), np.log(_RESPONSE_HZ), _RESPONSE_DB)
    return np.asarray(10 ** (decibels / 20))


def _filtered(
    sound: Sound, rate: int, gain: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Zero-phase filter: the spectrum times ``gain`` of the frequency in Hz."""
    spectrum = np.fft.rfft(sound.astype(np.float64))
    frequencies = np.asarray(np.fft.rfftfreq(sound.size, 1 / rate), np.float64)
    return np.fft.irfft(spectrum * gain(frequencies), sound.size)


def _convolved(sound: NDArray[np.float64], response: NDArray[np.float64]) -> NDArray[np.float64]:
    length = sound.size + response.size - 1
    product = np.fft.rfft(sound, length) * np.fft.rfft(response, length)
    return np.fft.irfft(product, length)[: sound.size]


def _fitted(sound: NDArray[np.floating], size: int) -> Sound:
    """Cut or pad to ``size`` samples and clip to [-1, 1]."""
    padded = np.pad(sound[:size], (0, max(0, size - sound.size)))
    return np.clip(padded, -1, 1).astype(np.float32)
