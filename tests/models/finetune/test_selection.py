"""Frames that mislead are dropped, the neutral face is chosen, the end is held out."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.finetune.footage import FootageError
from models.finetune.selection import MIN_RUN, head_turns, select_frames
from models.finetune.tracking import LandmarkTrack
from models.mini.scene.skin_motion import unit_moves
from tests.support.speaking import speaker, syllables

pytestmark = pytest.mark.unit

FRAMES = 300


@pytest.fixture
def track() -> LandmarkTrack:
    """A speaking face that does not turn."""
    neutral = speaker().landmarks.points.astype(np.float64)
    jaw = syllables(FRAMES).jaw
    points = neutral + jaw[:, None, None] * unit_moves(neutral)[0]
    return LandmarkTrack(points.astype(np.float32), np.ones(FRAMES), np.ones(FRAMES))


def turned(points: NDArray[np.float32], degrees: float) -> NDArray[np.float32]:
    middle = points.mean(-2, keepdims=True)
    turn = cv2.Rodrigues(np.array([0.0, np.radians(degrees), 0.0]))[0]
    return np.asarray((points - middle) @ turn.T + middle, np.float32)


def test_a_steady_face_is_used_whole(track: LandmarkTrack) -> None:
    found = select_frames(track)
    assert found.used == FRAMES and not any(found.dropped.values())
    learnt, held_out = found.runs
    assert (learnt.start, held_out.stop, learnt.stop) == (0, FRAMES, held_out.start)
    assert held_out.held_out and held_out.frames == 50 and not learnt.held_out


def test_the_neutral_frame_has_its_mouth_shut(track: LandmarkTrack) -> None:
    assert syllables(FRAMES).jaw[select_frames(track).reference] < 0.02


def test_turned_lost_and_jumping_frames_are_dropped(track: LandmarkTrack) -> None:
    track.points[100:120] = turned(track.points[100:120], 30)
    track.presence[150:155] = 0
    track.points[200] += 40
    found = select_frames(track)
    assert found.dropped["turned away"] == 20
    assert found.dropped["face lost"] == 5
    assert found.dropped["moved too much"] >= 1
    used = {k for run in found.runs for k in range(run.start, run.stop)}
    assert not used & {*range(100, 120), *range(150, 155)}
    assert all(run.frames >= MIN_RUN for run in found.runs)


def test_an_angle_is_measured(track: LandmarkTrack) -> None:
    track.points[10] = turned(track.points[10], 20)
    turns = head_turns(track.points, track.presence > 0)
    assert np.degrees(turns[10]) == pytest.approx(20, abs=2)
    assert np.degrees(turns[11]) < 3


def test_too_little_is_refused_with_the_reasons(track: LandmarkTrack) -> None:
    absent = replace(track, presence=np.where(np.arange(FRAMES) < 100, 1.0, 0.0))
    with pytest.raises(FootageError, match="face lost: 200") as caught:
        select_frames(absent)
    assert caught.value.code == "too_few_frames"
