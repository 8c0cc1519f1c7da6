"""The streaming resampler: same sound however cut, right tone, little delay, clear refusals."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import AudioError
from server.media.resampler import AudioFormat, MonoInput, StreamResampler

pytestmark = pytest.mark.unit

RATES = [(48_000, 16_000), (24_000, 16_000), (44_100, 16_000), (8_000, 16_000), (24_000, 48_000)]


def tone(rate: int, seconds: float = 1.0, frequency: float = 1000.0) -> NDArray[np.float32]:
    """A sine at half scale, float32 [rate * seconds]."""
    time = np.arange(round(rate * seconds)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def run(
    resampler: StreamResampler, mono: NDArray[np.float32], sizes: list[int]
) -> list[NDArray[np.float32]]:
    """Push ``mono`` in pieces of the given sizes, over and over; then flush."""
    pieces, start, turn = [], 0, 0
    while start < len(mono):
        size = sizes[turn % len(sizes)]
        pieces.append(resampler.push(mono[start : start + size]))
        start, turn = start + size, turn + 1
    return [*pieces, resampler.flush()]


@pytest.mark.parametrize(("in_rate", "out_rate"), RATES)
def test_cutting_elsewhere_changes_nothing(in_rate: int, out_rate: int) -> None:
    pcm = tone(in_rate)
    whole = np.concatenate(run(StreamResampler(in_rate, out_rate), pcm, [len(pcm)]))
    cut = np.concatenate(run(StreamResampler(in_rate, out_rate), pcm, [1, 333, 960, 17]))
    assert whole.dtype == np.float32
    assert abs(len(whole) - out_rate) <= 4
    length = min(len(whole), len(cut))
    np.testing.assert_allclose(cut[:length], whole[:length], atol=1e-6)


@pytest.mark.parametrize(("in_rate", "out_rate"), RATES)
def test_a_tone_stays_that_tone(in_rate: int, out_rate: int) -> None:
    pieces = run(StreamResampler(in_rate, out_rate), tone(in_rate), [in_rate // 50])
    sound = np.concatenate(pieces)[out_rate // 10 : -out_rate // 10]
    time = np.arange(len(sound)) / out_rate
    basis = np.stack([np.sin(2 * np.pi * 1000 * time), np.cos(2 * np.pi * 1000 * time)], 1)
    weights = np.linalg.lstsq(basis, sound, rcond=None)[0]
    assert abs(np.hypot(*weights) - 0.5) < 0.005
    assert np.abs(sound - basis @ weights).max() < 1e-3, "nothing but the tone, so no clicks"


@pytest.mark.parametrize(("in_rate", "out_rate"), RATES)
def test_little_is_held_back(in_rate: int, out_rate: int) -> None:
    resampler = StreamResampler(in_rate, out_rate)
    pushed = given = 0
    pcm = tone(in_rate)
    for start in range(0, len(pcm), in_rate // 50):
        piece = pcm[start : start + in_rate // 50]
        pushed += len(piece)
        given += len(resampler.push(piece))
        assert pushed / in_rate - given / out_rate <= 0.003


def test_downsampling_removes_what_would_fold_back() -> None:
    sound = np.concatenate(run(StreamResampler(48_000, 16_000), tone(48_000, 1, 12_000), [960]))
    assert np.abs(sound[800:-800]).max() < 1e-3


def test_mono_is_what_it_was() -> None:
    pcm = np.array([0, 1, -32_768, 32_767], np.int16)
    np.testing.assert_array_equal(MonoInput(AudioFormat(16_000)).push(pcm) * 32_768, pcm)


@pytest.mark.parametrize("right", [1, -1, 0])
def test_stereo_is_heard_whatever_its_other_side_holds(right: int) -> None:
    left = (20_000 * tone(16_000)).astype(np.int16)
    both = np.stack([left, right * left], 1).reshape(-1)
    mono = MonoInput(AudioFormat(16_000, 2)).push(both)
    np.testing.assert_allclose(mono[320:], left[320:] / 32_768, atol=1e-4)


def test_loud_stereo_does_not_overflow() -> None:
    mono = MonoInput(AudioFormat(16_000, 2)).push(np.full(320, -32_768, np.int16))
    np.testing.assert_allclose(mono, -1.0)


def test_a_new_stream_begins_after_flush() -> None:
    resampler = StreamResampler(24_000, 16_000)
    first = np.concatenate(run(resampler, tone(24_000), [480]))
    second = np.concatenate(run(resampler, tone(24_000), [480]))
    np.testing.assert_array_equal(first, second)
    assert resampler.flush().size == 0


def test_nothing_in_gives_nothing_out() -> None:
    assert StreamResampler(48_000, 16_000).push(np.zeros(0, np.float32)).size == 0


@pytest.mark.parametrize(
    ("in_rate", "out_rate"), [(7_999, 16_000), (96_001, 16_000), (16_000, 4_000)]
)
def test_refuses_rates_outside_the_range(in_rate: int, out_rate: int) -> None:
    with pytest.raises(AudioError, match="expected") as caught:
        StreamResampler(in_rate, out_rate)
    assert caught.value.code == "bad_audio"


def test_refuses_half_a_sample_frame_and_other_types() -> None:
    stereo = MonoInput(AudioFormat(16_000, 2))
    with pytest.raises(AudioError, match="multiple of 2"):
        stereo.push(np.zeros(3, np.int16))
    with pytest.raises(AudioError, match="int16"):
        stereo.push(np.zeros(4, np.float32))
