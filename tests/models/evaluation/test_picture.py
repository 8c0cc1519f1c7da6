"""Flicker of resting skin."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.evaluation.picture import flicker, still_in_truth

pytestmark = pytest.mark.unit

COVER = np.zeros((16, 16), np.uint8)
COVER[:, 8:] = 255


def test_only_skin_that_rests_counts() -> None:
    truth = np.full((3, 16, 16, 3), 100, np.uint8)
    truth[1:, :8] = 150  # the upper half moves once
    frames = truth.copy()
    frames[1, 8:, 8:] += 4  # flickers up and down where the truth rests and skin is
    frames[1, 8:, :8] += 90  # no skin
    frames[1, :8, 8:] += 0
    still = list(still_in_truth(truth, COVER))
    assert [int(where.sum()) for where in still] == [64, 128]
    assert flicker(frames, still) == pytest.approx((64 * 4 + 64 * 4) / (64 + 128))


def test_skin_that_never_rests_does_not_flicker() -> None:
    frames = np.zeros((3, 16, 16, 3), np.uint8)
    assert math.isnan(flicker(frames, [np.zeros((16, 16), bool)] * 2))
    with pytest.raises(ValueError, match="zip"):
        flicker(frames, [np.ones((16, 16), bool)])
