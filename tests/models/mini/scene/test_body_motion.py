"""Breathing and sway: small, endless, the same for any split into chunks."""

from __future__ import annotations

import numpy as np
import pytest

from models.mini.scene.body_motion import BREATH, SWAY, BodyMotion

pytestmark = pytest.mark.unit


def test_any_split_gives_the_same_track() -> None:
    whole, parts = BodyMotion(3), BodyMotion(3)
    split = np.concatenate([parts.frames(n) for n in (1, 4, 0, 7, 88)])
    assert np.array_equal(split, whole.frames(100))
    assert not np.array_equal(split, BodyMotion(4).frames(100))


def test_it_breathes_every_few_seconds_and_never_jumps() -> None:
    sway, breath = BodyMotion(1, 25.0).frames(25 * 120).T
    assert 0 <= breath.min() <= breath.max() <= BREATH
    tops = np.flatnonzero((breath[1:-1] > breath[:-2]) & (breath[1:-1] >= breath[2:]))
    assert 24 <= len(tops) <= 36
    assert np.abs(np.diff(breath)).max() < BREATH / 15
    assert np.abs(sway).max() <= 2 * SWAY
    assert SWAY / 2 < sway.std() < 1.5 * SWAY
    assert np.abs(np.diff(sway)).max() < SWAY / 10
