"""Tests that a degraded portrait differs as another camera's would, and moves nothing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.puppets.camera_look import degrade

pytestmark = pytest.mark.unit
DRAWS = 40
UNIT = 48.0


def looks(photo: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The photograph as several cameras would have kept it."""
    return [degrade(photo, UNIT, np.random.default_rng(seed)) for seed in range(DRAWS)]


def test_nothing_moves(photo: NDArray[np.uint8]) -> None:
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32)
    for look in looks(photo):
        assert look.shape == photo.shape
        assert look.dtype == np.uint8
        other = cv2.cvtColor(look, cv2.COLOR_RGB2GRAY).astype(np.float32)
        (x, y), _ = cv2.phaseCorrelate(grey, other)
        assert np.hypot(x, y) < 0.3


def test_colours_change_within_bounds(photo: NDArray[np.uint8]) -> None:
    means = np.array([look.mean((0, 1)) for look in looks(photo)]) / photo.mean((0, 1))
    assert np.all((means > 0.45) & (means < 1.9))
    assert np.ptp(means, axis=0).min() > 0.15
    assert np.ptp(means, axis=1).max() > 0.03  # the white balance changes too


def test_the_seed_decides(photo: NDArray[np.uint8]) -> None:
    first, again, other = (degrade(photo, UNIT, np.random.default_rng(k)) for k in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 1
