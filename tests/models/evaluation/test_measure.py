"""Metrics of synthetic signals and frames whose answers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation.measure import (
    amplitude,
    blinks,
    border_ratio,
    closed_share,
    colour_drift,
    correlation,
    frame_changes,
    lagged_correlation,
    picture_drift,
    psnr,
    sync_offset,
)

pytestmark = pytest.mark.unit

EVERYWHERE = np.ones((8, 8), np.float32)


@pytest.fixture
def signal() -> NDArray[np.float64]:
    """A smooth random track [400]."""
    noise = np.random.default_rng(5).normal(size=420)
    smooth: NDArray[np.float64] = np.convolve(noise, np.hanning(9), mode="same")[10:-10]
    return smooth


def clip(levels: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Uniform grey frames [T, 8, 8, 3] of the given levels."""
    return np.broadcast_to(levels.astype(np.uint8)[:, None, None, None], (levels.size, 8, 8, 3))


def test_correlation(signal: NDArray[np.float64]) -> None:
    assert correlation(signal, 3 * signal + 1) == pytest.approx(1)
    assert correlation(signal, -signal) == pytest.approx(-1)
    assert math.isnan(correlation(signal, np.zeros(signal.size)))
    holed = signal.copy()
    holed[::7] = np.nan
    assert correlation(holed, signal) == pytest.approx(1)


@pytest.mark.parametrize("lag", [-8, -5, -1, 0, 1, 3, 8])
def test_offset_is_found(signal: NDArray[np.float64], lag: int) -> None:
    late = np.roll(signal, lag)
    assert sync_offset(late, signal) == pytest.approx(lag, abs=0.1)
    assert lagged_correlation(late[10:-10], signal[10:-10], lag) == pytest.approx(1)


def test_offset_between_frames(signal: NDArray[np.float64]) -> None:
    times = np.arange(signal.size)
    late = np.interp(times - 1.5, times, signal)
    assert sync_offset(late, signal) == pytest.approx(1.5, abs=0.1)


def test_offset_of_nothing_is_unknown(signal: NDArray[np.float64]) -> None:
    assert math.isnan(sync_offset(np.zeros(signal.size), signal))
    assert math.isnan(sync_offset(signal[:5], signal[:5]))


def test_amplitude(signal: NDArray[np.float64]) -> None:
    assert amplitude(0.8 * signal + 7, signal) == pytest.approx(0.8)
    assert math.isnan(amplitude(signal, np.ones(signal.size)))
    assert math.isnan(amplitude(np.full(signal.size, np.nan), signal))


def test_closing_is_seen_one_frame_off() -> None:
    opening = np.ones(100)
    opening[[10, 31]] = 0.0
    instants = np.array([10, 30, 50, 70])
    assert closed_share(opening, instants, 0.1) == 0.5
    assert math.isnan(closed_share(opening, instants[:0], 0.1))


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_blinks_are_counted(noise: float) -> None:
    rng = np.random.default_rng(3)
    openness = 0.15 + 0.02 * np.sin(np.arange(1500) / 200) + rng.normal(0, noise * 0.15, 1500)
    for begin in range(60, 1500, 125):  # 12 in a minute
        openness[begin : begin + 6] *= np.array([0.7, 0.4, 0.3, 0.4, 0.7, 0.9])
    openness[700:800] *= 0.6  # looking down is no blink
    found = blinks(openness, 25.0)
    assert found.per_minute == pytest.approx(12, abs=1)
    assert found.depth == pytest.approx(0.7, abs=0.08)


def test_still_eyes_do_not_blink() -> None:
    assert blinks(np.full(200, 0.15), 25.0).per_minute == 0
    assert math.isnan(blinks(np.full(200, np.nan), 25.0).per_minute)


def test_changes_and_borders() -> None:
    levels = np.cumsum(np.where(np.arange(80) % 4 == 0, 3, 2)) + 10
    changes = frame_changes(clip(levels), EVERYWHERE)
    assert set(changes.round(4)) == {2.0, 3.0}
    assert border_ratio(changes, 4) == pytest.approx(1.5)
    assert border_ratio(changes, 5) == pytest.approx(1.0, abs=0.05)
    assert math.isnan(border_ratio(changes, 1))


def test_changes_count_under_their_weight_only() -> None:
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    frames[1, :4] = 100
    upper = np.zeros((8, 8), np.float32)
    upper[:4] = 1
    assert frame_changes(frames, upper) == pytest.approx([100, 100])
    assert frame_changes(frames, 1 - upper) == pytest.approx([0, 0])


def test_drift_is_the_difference_of_the_ends() -> None:
    frames = clip(np.linspace(100, 120, 1000))
    assert picture_drift(frames, EVERYWHERE, 25.0) == pytest.approx(17.5, abs=0.5)
    assert colour_drift(frames, EVERYWHERE, 25.0) == pytest.approx(17.5, abs=0.5)


def test_colour_drift_ignores_what_only_moves() -> None:
    frames = np.zeros((500, 8, 8, 3), np.uint8)
    frames[:250, :, :4] = 200
    frames[250:, :, 4:] = 200
    assert colour_drift(frames, EVERYWHERE, 25.0) == pytest.approx(0, abs=1e-6)
    assert picture_drift(frames, EVERYWHERE, 25.0) == pytest.approx(200)


def test_psnr() -> None:
    truth = np.full((4, 8, 8, 3), 100, np.uint8)
    assert psnr(truth, truth) == math.inf
    assert psnr(truth + 5, truth) == pytest.approx(20 * math.log10(255 / 5), abs=1e-6)
    assert psnr(truth + 5, truth[:1]) == pytest.approx(20 * math.log10(255 / 5), abs=1e-6)
    wrong = truth.copy()
    wrong[:, 6:] = 0
    boxes = np.tile(np.array([0, 0, 8, 6]), (4, 1))
    assert psnr(wrong, truth, boxes) == math.inf
