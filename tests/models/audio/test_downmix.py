"""Mixing to mono: nothing that one channel holds is lost, whatever the others hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.audio.downmix import MEMORY_S, Downmix

pytestmark = pytest.mark.unit

RATE = 16_000
STEREO = ("FL", "FR")
QUAD = ("FL", "FR", "BL", "BR")
SURROUND_51 = ("FL", "FR", "FC", "LFE", "SL", "SR")
SURROUND_71 = ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR")
SETTLED = round(MEMORY_S * RATE)


def voice(seed: int = 0, level: float = 0.1) -> NDArray[np.float32]:
    """Noise in syllables, one second."""
    times = np.arange(RATE) / RATE
    noise = np.random.default_rng(seed).standard_normal(RATE)
    return (level * noise * np.abs(np.sin(2 * np.pi * 3 * times))).astype(np.float32)


def db(sound: NDArray[np.float32]) -> float:
    """RMS in dBFS."""
    return 10 * float(np.log10(np.square(sound, dtype=np.float64).mean() + 1e-12))


def mixed(names: tuple[str, ...], *channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """A whole sound, mixed."""
    return Downmix(names, RATE).push(np.stack(channels, 1))


@pytest.mark.parametrize("names", [STEREO, QUAD, SURROUND_51, SURROUND_71])
def test_one_live_channel_of_many_keeps_its_loudness(names: tuple[str, ...]) -> None:
    for live in range(len(names)):
        sound = np.zeros((RATE, len(names)), np.float32)
        sound[:, live] = voice()
        mono = Downmix(names, RATE).push(sound)
        assert db(mono) == pytest.approx(db(voice()), abs=1.5)
        assert np.corrcoef(mono[SETTLED:], voice()[SETTLED:])[0, 1] > 0.99


@pytest.mark.parametrize("names", [STEREO, QUAD, SURROUND_51, SURROUND_71])
def test_the_same_in_all_channels_is_that(names: tuple[str, ...]) -> None:
    mono = mixed(names, *[voice()] * len(names))
    np.testing.assert_allclose(mono, voice(), atol=1e-6)


@pytest.mark.parametrize("share", [-1.0, -0.9, -0.3, 0.3])
def test_channels_that_cancel_are_turned_over(share: float) -> None:
    mono = mixed(STEREO, voice(), share * voice())
    np.testing.assert_allclose(mono[SETTLED:], voice()[SETTLED:], atol=1e-3)
    left, right, room = voice(), -voice(), 0.02 * voice(7)
    mono = mixed(QUAD, left, right, room, -room)
    assert np.corrcoef(mono[SETTLED:], voice()[SETTLED:])[0, 1] > 0.95
    assert db(mono) == pytest.approx(db(voice()), abs=1)


def test_two_who_speak_on_two_sides_are_both_heard() -> None:
    first, second = voice(1), voice(2)
    mono = mixed(STEREO, first, second)
    assert min(np.corrcoef(mono, each)[0, 1] for each in (first, second)) > 0.6
    assert db(mono) == pytest.approx(db(first), abs=1)


def test_the_bass_channel_is_left_out_where_others_are_live() -> None:
    effects = 5 * voice(3)
    mono = mixed(SURROUND_51, *[voice() * (name == "FC") + effects * (name == "LFE")
                                for name in SURROUND_51])  # fmt: skip
    np.testing.assert_allclose(mono[SETTLED:], voice()[SETTLED:], atol=1e-3)


def test_a_phase_that_changes_is_followed_without_a_step() -> None:
    constant = np.full(RATE, 0.1, np.float32)
    right = constant.copy()
    right[RATE // 2 :] *= -1
    mono = mixed(STEREO, constant, right)
    assert np.abs(mono[-RATE // 4 :]) == pytest.approx(0.1, abs=0.01)
    jumps = np.abs(np.diff(mono))
    jumps[RATE // 2 - 1] = 0  # the input's own
    assert jumps.max() < 0.01


def test_mono_and_silence_stay_as_they_are() -> None:
    assert np.array_equal(mixed(("FC",), voice()), voice())
    assert not mixed(STEREO, np.zeros(RATE, np.float32), np.zeros(RATE, np.float32)).any()


@given(st.lists(st.integers(0, 4000), max_size=20), st.sampled_from([STEREO, SURROUND_51]))
@settings(max_examples=60, deadline=None)
def test_cutting_elsewhere_changes_nothing(cuts: list[int], names: tuple[str, ...]) -> None:
    sound = np.stack([voice(k)[:4000] * (-1) ** k for k in range(len(names))], 1)
    pieces = np.split(sound, sorted(cuts))
    stream = Downmix(names, RATE)
    assert np.array_equal(
        np.concatenate([stream.push(piece) for piece in pieces]), Downmix(names, RATE).push(sound)
    )
