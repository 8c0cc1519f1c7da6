"""Speech as other devices pass it on: another microphone in a room, and a telephone.

Both keep the timing, so that what a generator makes of them can be held against what it makes of
the recording itself. Sound is mono float32 [N] in [-1, 1]; the same sound always comes out alike.
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
"""Hz over which the telephone's band begins and ends."""
_MU = 255.0

_RESPONSE_HZ = (50, 120, 250, 1000, 3000, 5000, 8000)
_RESPONSE_DB = (-30, -12, 0, 0, 6, 0, -15)
"""A small microphone: no bass, sharp in the middle, dull above."""
_DIRECT_MS = 5.0
"""The room answers this much later than the voice itself arrives."""
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
    heard = np.sign(narrow) * np.expm1(code * np.log1p(_MU)) / _MU
    return _fitted(np.asarray(soxr.resample(heard, TELEPHONE_RATE, rate)), sound.size)


def microphone(sound: Sound, rate: int) -> Sound:
    """A laptop across a table: its own colour, a room's echo, noise 30 dB below, half as loud."""
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
"""What a recording is passed through, by name: (sound, rate in Hz) -> sound; itself first."""


def _small_microphone(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    decibels = np.interp(np.log(np.maximum(hz, 1.0)), np.log(_RESPONSE_HZ), _RESPONSE_DB)
    return np.asarray(10 ** (decibels / 20))


def _filtered(
    sound: Sound, rate: int, gain: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Multiply the spectrum by a gain that depends on the frequency; no delay."""
    spectrum = np.fft.rfft(sound.astype(np.float64))
    frequencies = np.asarray(np.fft.rfftfreq(sound.size, 1 / rate), np.float64)
    return np.fft.irfft(spectrum * gain(frequencies), sound.size)


def _convolved(sound: NDArray[np.float64], response: NDArray[np.float64]) -> NDArray[np.float64]:
    length = sound.size + response.size - 1
    product = np.fft.rfft(sound, length) * np.fft.rfft(response, length)
    return np.fft.irfft(product, length)[: sound.size]


def _fitted(sound: NDArray[np.floating], size: int) -> Sound:
    """``size`` samples within [-1, 1]."""
    padded = np.pad(sound[:size], (0, max(0, size - sound.size)))
    return np.clip(padded, -1, 1).astype(np.float32)
