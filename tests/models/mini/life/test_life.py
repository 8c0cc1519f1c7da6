"""Tests the track of one person: any chunks, bounds, blinks, speech against silence, liveliness."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from models.audio.level import level_audio
from models.io.audio import read_speech
from models.mini.audio import FRAME_SAMPLES, LOOKAHEAD_FRAMES
from models.mini.life.accents import AccentDetector
from models.mini.life.head import HEAD_BOUND
from models.mini.life.life import BODY, EYE_LIMIT, LIVELINESS, Life, LifeTrack
from models.mini.motion import BROW_LIMIT, MOTION
from models.weights.bundled import WEIGHTS

pytestmark = pytest.mark.unit

FPS = 25
MINUTES = 10
BLINK = MOTION.index("blink")


def whole_frames(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sound and its look-ahead of silence, in whole frames."""
    end = -sound.size % FRAME_SAMPLES + LOOKAHEAD_FRAMES * FRAME_SAMPLES
    return np.pad(sound, (0, end))


@pytest.fixture(scope="module")
def speech() -> NDArray[np.float32]:
    """A real clip, levelled, with its look-ahead."""
    return whole_frames(level_audio(read_speech(WEIGHTS / "clips" / "story.wav", 16_000)))


@pytest.fixture(scope="module")
def idle() -> LifeTrack:
    """Ten minutes of somebody who says nothing."""
    return Life(5).idle(60 * FPS * MINUTES)


def in_chunks(life: Life, sound: NDArray[np.float32], sizes: list[int]) -> LifeTrack:
    """The frames of a sound that ends with its look-ahead, in calls of these sizes in turn."""
    parts, at = [], 0
    total = sound.size // FRAME_SAMPLES - LOOKAHEAD_FRAMES
    for size in itertools.cycle(sizes):
        size = min(size, total - at)
        end = at + size + LOOKAHEAD_FRAMES
        parts.append(life.frames(sound[at * FRAME_SAMPLES : end * FRAME_SAMPLES]))
        at += size
        if at == total:
            break
    return LifeTrack(
        np.concatenate([part.motion for part in parts]),
        np.concatenate([part.body for part in parts]),
    )


def blinks_of(track: LifeTrack) -> list[NDArray[np.float32]]:
    """The closures of each blink."""
    closed = track.motion[:, BLINK]
    edges = np.flatnonzero(np.diff(np.pad((closed > 0).astype(int), 1)))
    return [closed[a:b] for a, b in edges.reshape(-1, 2)]


@pytest.mark.parametrize("sizes", [[4], [1], [7, 0, 2, 30]])
def test_any_chunks_give_the_frames_of_one_call(
    speech: NDArray[np.float32], sizes: list[int]
) -> None:
    whole = Life(7).frames(speech)
    parts = in_chunks(Life(7), speech, sizes)
    assert whole.motion.dtype == np.float32
    np.testing.assert_array_equal(parts.motion, whole.motion)
    np.testing.assert_array_equal(parts.body, whole.body)


def test_seeds_differ() -> None:
    assert np.abs(Life(1).idle(200).motion - Life(2).idle(200).motion).max() > 0.01


def test_columns_are_pose_expression_and_body() -> None:
    track = Life(1).idle(9)
    assert track.pose.shape == (9, 3) and track.expression.shape == (9, 4)
    assert track.body.shape == (9, len(BODY))
    np.testing.assert_array_equal(np.hstack([track.pose, track.expression]), track.motion)


@pytest.mark.parametrize("liveliness", [LIVELINESS, 1.0])
def test_everything_is_smooth_and_bounded(speech: NDArray[np.float32], liveliness: float) -> None:
    own = speech[: -LOOKAHEAD_FRAMES * FRAME_SAMPLES]
    track = Life(3, liveliness=liveliness).frames(whole_frames(np.tile(own, 20)))
    gain = liveliness / LIVELINESS
    for k, bound in enumerate(HEAD_BOUND):
        assert np.abs(track.pose[:, k]).max() <= gain * bound
        step = np.diff(track.pose[:, k])
        assert np.abs(step).max() < gain * 0.016
        assert np.abs(np.diff(step)).max() < gain * 0.010
    assert (np.abs(track.motion[:, 4:6]) <= np.array(EYE_LIMIT, np.float32)).all()
    assert track.expression[:, 0].min() == 0.0 and track.expression[:, 0].max() <= 1.0
    assert track.motion[:, 6].min() >= 0.0 and track.motion[:, 6].max() <= np.float32(BROW_LIMIT)
    assert track.body[:, 1].min() >= 0.0 and track.body[:, 1].max() <= 1.0
    assert np.abs(track.body[:, 0]).max() <= 1.0


def test_idle_blinks_come_as_often_as_peoples_and_in_clusters(idle: LifeTrack) -> None:
    closed = idle.motion[:, BLINK]
    starts = np.flatnonzero((closed[1:] > 0) & (closed[:-1] == 0)) / FPS
    gaps = np.diff(starts)
    between = gaps[gaps > 1.0]
    assert 11 < len(starts) / MINUTES < 25
    assert between.min() > 1.2 and between.max() < 9.0
    assert 2.8 < np.median(between) < 4.5
    assert between.std() > 0.8
    assert 0.06 < (gaps < 1.0).mean() < 0.28


def test_lids_close_faster_than_they_open_and_not_always_wholly(idle: LifeTrack) -> None:
    partial = 0
    blinks = blinks_of(idle)
    for blink in blinks:
        top = float(blink.max())
        partial += top < 1.0
        first, last = np.flatnonzero(blink == blink.max())[[0, -1]]
        assert 2 <= first + 1 <= 3
        assert 4 <= len(blink) - last <= 5
        assert last - first <= 1 and 0.5 <= top <= 1.0
    assert 0.04 < partial / len(blinks) < 0.25


def test_gaze_rests_mostly_on_the_viewer_and_jumps(idle: LifeTrack) -> None:
    looks = idle.motion[:, 4:6] + 0.8 * idle.pose[:, :2]
    away = np.hypot(*looks.T)
    assert 0.6 < (away < 0.035).mean() < 0.9
    jumps = np.flatnonzero(np.hypot(*np.diff(looks, axis=0).T) > 0.02)
    between = np.diff(jumps)[np.diff(jumps) > 3] / FPS
    assert between.min() >= 0.3 and 0.8 < np.median(between) < 4.5


def test_the_head_moves_more_while_talking_than_idle(
    speech: NDArray[np.float32], idle: LifeTrack
) -> None:
    own = speech[: -LOOKAHEAD_FRAMES * FRAME_SAMPLES]
    talking = Life(5).frames(whole_frames(np.tile(own, 20)))
    speed = [np.abs(np.diff(track.pose, axis=0)).mean(0) for track in (talking, idle)]
    assert (speed[0] > 1.15 * speed[1]).all()
    assert speed[0][1] > 2 * speed[1][1]


def test_phrases_end_with_blinks(speech: NDArray[np.float32]) -> None:
    own = speech[: -LOOKAHEAD_FRAMES * FRAME_SAMPLES]
    pause = np.zeros(50 * FRAME_SAMPLES, np.float32)
    sound = whole_frames(np.tile(np.concatenate([own, pause]), 20))
    ends = [k for k, cue in enumerate(AccentDetector().cues(sound)) if cue.ends]
    closed = [Life(seed).frames(sound).motion[:, BLINK] for seed in range(5)]
    at_end, later = (
        np.mean([(one[k + wait : k + wait + 4] > 0).any() for one in closed for k in ends])
        for wait in (0, 15)
    )
    assert at_end > 0.4 and at_end > 2 * later


def test_breath_is_slow_and_deep_enough(idle: LifeTrack) -> None:
    breath = idle.body[:, 1]
    tops = np.flatnonzero((breath[1:-1] > breath[:-2]) & (breath[1:-1] >= breath[2:]))
    assert 0.2 <= len(tops) / (60 * MINUTES) <= 0.28
    assert breath[tops + 1].min() > 0.75 and breath.min() < 0.02


def test_liveliness_nought_leaves_only_blinks(speech: NDArray[np.float32]) -> None:
    track = Life(4, liveliness=0.0).frames(np.tile(speech, 4))
    assert np.abs(np.delete(track.motion, BLINK, 1)).max() == 0.0
    assert np.abs(track.body).max() == 0.0
    assert track.motion[:, BLINK].max() > 0.4


def test_liveliness_is_the_size_of_the_movement() -> None:
    sizes = [Life(4, liveliness=level).idle(2000).pose.std() for level in (0.3, 0.6, 1.0)]
    assert sizes[0] < 0.6 * sizes[1] and sizes[2] > 1.5 * sizes[1]


def test_the_head_is_sized_on_its_own() -> None:
    whole, less = Life(4).idle(500), Life(4, head=0.5).idle(500)
    np.testing.assert_allclose(less.pose, 0.5 * whole.pose, atol=1e-6)
    np.testing.assert_array_equal(less.motion[:, BLINK], whole.motion[:, BLINK])


@pytest.mark.parametrize(
    ("fps", "liveliness", "head"), [(0.0, 0.5, 1.0), (25.0, 1.1, 1.0), (25.0, 0.5, -1.0)]
)
def test_refuses_bad_settings(fps: float, liveliness: float, head: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        Life(0, fps, liveliness, head=head)


def test_refuses_broken_frames() -> None:
    with pytest.raises(ValueError, match="frames of 640"):
        Life(0).frames(np.zeros(1000, np.float32))
