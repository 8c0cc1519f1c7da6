"""Lips against sound alone: loudness, pauses, timing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from models.dataset.clips import FRAME_SAMPLES
from models.evaluation.measure import correlation
from models.evaluation.speech import (
    compare_with_clean,
    compare_with_sound,
    loudness_track,
    metrics_without_truth,
    pauses,
)
from tests.support.puppet import babble, openings

pytestmark = pytest.mark.unit

FRAMES = 200


@pytest.fixture
def audio() -> NDArray[np.float32]:
    """Eight seconds of babble with a pause of 40 frames from frame 100."""
    return babble(FRAMES, 4)


def test_loudness_has_one_value_a_frame(audio: NDArray[np.float32]) -> None:
    assert loudness_track(audio).shape == (FRAMES,)
    assert loudness_track(audio[:-1]).shape == (FRAMES,)
    assert loudness_track(4 * audio) == pytest.approx(2 * loudness_track(audio))


@pytest.mark.parametrize("fps", [24.0, 30.0])
def test_loudness_follows_the_frame_rate(audio: NDArray[np.float32], fps: float) -> None:
    slower = loudness_track(audio, fps)
    assert slower.size == FRAMES * fps / 25
    at = np.arange(slower.size) * 25 / fps
    assert correlation(slower, np.interp(at, np.arange(FRAMES), loudness_track(audio))) > 0.9


def test_pauses_are_long_and_settled(audio: NDArray[np.float32]) -> None:
    quiet = np.flatnonzero(pauses(loudness_track(audio)))
    assert 101 <= quiet[0] <= 106
    assert 136 <= quiet[-1] <= 139
    assert quiet.size == quiet[-1] - quiet[0] + 1


@pytest.mark.parametrize("late", [-2, 0, 3])
def test_timing_against_loudness(audio: NDArray[np.float32], late: int) -> None:
    opening = np.roll(np.sqrt(openings(audio)), late)
    metrics = compare_with_sound(opening, 0.0, audio, "ruler")
    assert metrics["loudness_offset_frames.ruler"] == pytest.approx(late, abs=0.3)
    assert metrics["loudness_correlation_best.ruler"] > 0.85


def test_a_mouth_at_rest_and_one_that_hangs_open(audio: NDArray[np.float32]) -> None:
    closed = openings(audio)
    rest = compare_with_sound(closed, 0.0, audio, "ruler")
    assert rest["pause_opening.ruler"] == pytest.approx(0, abs=0.05)
    assert rest["pause_movement.ruler"] == pytest.approx(0, abs=0.05)
    hanging = compare_with_sound(np.maximum(closed, 0.4), 0.0, audio, "ruler")
    assert hanging["pause_opening.ruler"] > 1


def test_without_pauses_rest_is_unknown(audio: NDArray[np.float32]) -> None:
    spoken = audio[: 100 * FRAME_SAMPLES]
    metrics = compare_with_sound(openings(spoken), 0.0, spoken, "ruler")
    assert math.isnan(metrics["pause_opening.ruler"])


def test_a_mouth_against_that_of_the_clean_recording(audio: NDArray[np.float32]) -> None:
    clean = openings(audio)
    same = compare_with_clean(3 + 0.5 * clean, clean, "ruler")
    assert same["clean_correlation.ruler"] == pytest.approx(1)
    assert same["clean_offset_frames.ruler"] == pytest.approx(0, abs=0.1)
    assert same["clean_amplitude_percent.ruler"] == pytest.approx(50)
    late = compare_with_clean(np.roll(clean, 3), clean, "ruler")
    assert late["clean_offset_frames.ruler"] == pytest.approx(3, abs=0.3)
    assert late["clean_correlation.ruler"] < 0.7


def test_calm_needs_no_truth() -> None:
    frames = np.zeros((20, 8, 8, 3), np.uint8)
    frames[::2] = 10
    metrics = metrics_without_truth(frames, None, 4)
    assert metrics["frame_change_levels"] == pytest.approx(10)
    assert metrics["border_ratio"] == pytest.approx(1)
    assert math.isnan(metrics["blinks_per_minute"])
