"""Tests the motion track: streaming, limits, blinks."""

from __future__ import annotations

import numpy as np
import pytest

from models.mini.motion import BROW_LIMIT, HEAD_LIMIT, HEAD_SD, MOTION, IdleMotion

pytestmark = pytest.mark.unit


def test_many_small_calls_equal_one_long_call() -> None:
    whole = IdleMotion(7).frames(400)
    track = IdleMotion(7)
    sizes = [4, 1, 0, 7, 88, 4, 4, 292]
    parts = np.concatenate([track.frames(size) for size in sizes])
    assert whole.dtype == np.float32
    assert whole.shape == (400, len(MOTION))
    np.testing.assert_array_equal(parts, whole)


def test_seeds_differ() -> None:
    assert np.abs(IdleMotion(1).frames(200) - IdleMotion(2).frames(200)).max() > 0.01


def test_head_keeps_its_spread_and_limits() -> None:
    track = IdleMotion(3).frames(20_000)
    for k, sd in enumerate(HEAD_SD):
        assert np.abs(track[:, k]).max() <= HEAD_LIMIT * sd
        assert 0.75 * sd < track[:, k].std() < 1.15 * sd
        assert abs(float(track[0, k])) < 0.3 * sd
        assert np.abs(np.diff(track[:, k])).max() < 0.35 * sd


def test_blinks_come_every_few_seconds_and_close_the_eye() -> None:
    blink = IdleMotion(5).frames(25 * 600)[:, MOTION.index("blink")]
    closed = np.flatnonzero((blink[1:-1] == 1.0) & (blink[:-2] < 1.0))
    assert blink.min() == 0.0
    assert blink.max() == 1.0
    gaps = np.diff(closed) / 25.0
    apart = gaps[gaps > 0.5]
    assert apart.min() > 1.8
    assert apart.max() < 5.5
    assert (gaps <= 0.5).any()


def test_blink_lasts_as_long_at_another_rate() -> None:
    slow = IdleMotion(5, fps=12.5).frames(500)[:, MOTION.index("blink")]
    fast = IdleMotion(5, fps=50.0).frames(2000)[:, MOTION.index("blink")]
    assert (slow > 0).mean() == pytest.approx((fast > 0).mean(), rel=0.5)


def test_brow_and_gaze_stay_small() -> None:
    track = IdleMotion(9).frames(5000)
    brow = track[:, MOTION.index("brow")]
    assert brow.min() >= 0.0
    assert brow.max() <= BROW_LIMIT
    assert np.abs(track[:, 4:6]).max() < 0.2


def test_scale_zero_leaves_only_blinks() -> None:
    track = IdleMotion(4, scale=0.0).frames(300)
    assert np.abs(np.delete(track, MOTION.index("blink"), 1)).max() == 0.0
    assert track[:, MOTION.index("blink")].max() > 0.0


@pytest.mark.parametrize(("fps", "scale"), [(0.0, 1.0), (-1.0, 1.0), (25.0, -0.1)])
def test_refuses_bad_settings(fps: float, scale: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        IdleMotion(0, fps=fps, scale=scale)


def test_refuses_a_negative_count() -> None:
    with pytest.raises(ValueError, match="zero or more"):
        IdleMotion(0).frames(-1)
