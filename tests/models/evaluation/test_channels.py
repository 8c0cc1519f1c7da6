"""Another microphone and a telephone: what passes, what does not, and when."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation.channels import CHANNELS, microphone, telephone
from models.evaluation.measure import correlation, sync_offset
from models.evaluation.speech import loudness_track
from tests.support.puppet import babble

pytestmark = pytest.mark.unit

RATE = 16_000


def tone(hertz: float, level: float = 0.3) -> NDArray[np.float32]:
    """A second of it."""
    return (level * np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE)).astype(np.float32)


def decibels(sound: NDArray[np.float32], hertz: float) -> float:
    """How loud a channel leaves a tone, against the tone."""
    inner = slice(RATE // 10, -RATE // 10)
    powers = [float((x[inner].astype(np.float64) ** 2).mean()) for x in (sound, tone(hertz))]
    return 10 * math.log10(max(powers[0], 1e-12) / powers[1])


@pytest.mark.parametrize("hertz", [400, 1000, 3000])
def test_a_telephone_passes_its_band(hertz: float) -> None:
    assert decibels(telephone(tone(hertz), RATE), hertz) == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("hertz", [100, 3800, 6000])
def test_a_telephone_stops_the_rest(hertz: float) -> None:
    assert decibels(telephone(tone(hertz), RATE), hertz) < -35


def test_a_telephone_has_eight_bits() -> None:
    clean, received = tone(1000), telephone(tone(1000), RATE)
    inner = slice(RATE // 10, -RATE // 10)
    error = float(((received - clean)[inner] ** 2).mean())
    ratio = 10 * math.log10(float((clean[inner] ** 2).mean()) / error)
    assert 25 < ratio < 45  # G.711 keeps about 38 dB


def test_a_microphone_colours() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 2 * RATE).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(microphone(noise, RATE))) ** 2
    low, middle, sharp = (
        10 * math.log10(spectrum[2 * begin : 2 * end].mean())
        for begin, end in ((60, 110), (400, 1000), (2700, 3300))
    )
    assert low < middle - 10 and sharp > middle + 3


@pytest.mark.parametrize("name", list(CHANNELS))
@pytest.mark.parametrize("size", [50 * 640, 12_345])
def test_channels_keep_length_and_time(name: str, size: int) -> None:
    sound = babble(50, 4)[:size]
    received = CHANNELS[name](sound, RATE)
    assert received.shape == sound.shape and received.dtype == np.float32
    assert np.abs(received).max() <= 1
    assert np.array_equal(received, CHANNELS[name](sound, RATE))
    assert sync_offset(loudness_track(received), loudness_track(sound)) == pytest.approx(0, abs=0.5)
    assert correlation(loudness_track(received), loudness_track(sound)) > (
        0.5 if name == "microphone" else 0.95
    )


@pytest.mark.parametrize("name", list(CHANNELS))
def test_silence_stays_finite(name: str) -> None:
    assert not CHANNELS[name](np.zeros(5000, np.float32), RATE).any()


def test_loud_sound_is_limited() -> None:
    assert np.abs(microphone(tone(3000, 1.0), RATE)).max() <= 1
