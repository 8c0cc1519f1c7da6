"""Tests the listener's nods: only where the caller spoke, at the ends of phrases."""

from __future__ import annotations

import numpy as np
import pytest

from models.mini.life.life import Life, LifeTrack
from models.mini.life.listening import GAP_S, ListeningNods

pytestmark = pytest.mark.unit

FPS = 25


def nods(pattern: list[bool], *, talking: bool = False, seed: int = 3) -> list[int]:
    """Frames in which a nod begins."""
    decides = ListeningNods(np.random.default_rng(seed), FPS)
    return [
        k for k, speaks in enumerate(pattern) if decides.step(caller_speaks=speaks, talking=talking)
    ]


def test_nobody_speaks_nobody_nods() -> None:
    assert not nods([False] * 60 * FPS)


def test_nods_follow_the_ends_of_phrases() -> None:
    phrase = [True] * 2 * FPS + [False] * 2 * FPS
    found = nods(phrase * 50)
    assert 30 <= sum(k % len(phrase) == 2 * FPS for k in found) <= 48
    assert np.diff(found).min() >= GAP_S * FPS - 1


def test_a_short_sound_is_no_phrase() -> None:
    assert not nods(([True] * 10 + [False] * 50) * 40)


def test_a_long_speech_is_nodded_to_unless_the_person_talks() -> None:
    assert 8 <= len(nods([True] * 60 * FPS)) <= 20
    assert not nods([True] * 60 * FPS, talking=True)


def track(life: Life, *, heard: bool) -> LifeTrack:
    """Twenty seconds in chunks of 4 frames; the caller speaks for 2 s of every 4."""
    parts = []
    for k in range(0, 20 * FPS, 4):
        life.listen(heard and k % (4 * FPS) < 2 * FPS)
        parts.append(life.idle(4).motion)
    motion = np.concatenate(parts)
    return LifeTrack(motion, motion[:, :2])


def test_the_head_nods_to_the_caller() -> None:
    quiet, heard = (track(Life(6), heard=listens).pose for listens in (False, True))
    differ = np.abs(heard - quiet).max(1)
    assert differ[: 2 * FPS].max() < 0.1
    nodding = np.degrees((heard - quiet)[:, 1])
    assert 1.0 < nodding.max() < 5.0


def test_a_still_face_does_not_nod() -> None:
    assert not track(Life(6, liveliness=0.0), heard=True).pose.any()
