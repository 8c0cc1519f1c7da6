"""The rules of cutting, one by one; the times are arguments."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import AudioError
from server.session.scheduler import GAP_S, LIVE_LIMIT, LIVE_SLACK, MAX_BUFFER_S, ChunkScheduler
from tests.support.sound import room, speech
from tests.support.workers import SPEC

pytestmark = pytest.mark.unit

F, L, T = SPEC.chunk_frames, SPEC.lookahead_frames, SPEC.frame_s
RATE = 48_000


def filled(frames: float, *, live: bool = False, now: float = 10.0) -> ChunkScheduler:
    """A timeline with an open segment of so many frames, pushed at ``now``."""
    timeline = ChunkScheduler(SPEC, live=live)
    timeline.push(speech(frames * T), RATE, 1, now)
    return timeline


def test_idle_is_cut_at_the_last_moment() -> None:
    timeline = ChunkScheduler(SPEC)
    plan = timeline.plan(10.0, 10.3, talking=False)
    assert (plan.at, plan.lead_in, plan.starts) == (10.3, F, False)
    chunk = timeline.cut(plan, 10.3)
    assert not chunk.features.any() and not chunk.sound.any()
    assert all(mark.segment is None and mark.samples == 0 for mark in chunk.marks)


def test_a_late_caller_is_told_to_cut_now() -> None:
    assert ChunkScheduler(SPEC).plan(10.0, 9.0, talking=False).at == 10.0


def test_known_speech_is_cut_now() -> None:
    plan = filled(F + L).plan(10.0, 10.3, talking=False)
    assert (plan.at, plan.lead_in, plan.starts) == (10.0, 0, True)


def test_committed_speech_is_cut_now_however_short() -> None:
    timeline = filled(0.3)
    timeline.commit()
    plan = timeline.plan(10.0, 10.3, talking=False)
    assert (plan.at, plan.lead_in) == (10.0, 0)
    chunk = timeline.cut(plan, 10.0)
    assert [mark.samples > 0 for mark in chunk.marks] == [True, False, False, False]
    assert timeline.empty


def test_look_ahead_is_waited_for_no_longer_than_it_lasts() -> None:
    timeline = filled(F + 0.1)
    plan = timeline.plan(10.0, 10.3, talking=False)
    assert plan.at == pytest.approx(10.0 + L * T) and not plan.closes
    chunk = timeline.cut(plan, plan.at)
    assert chunk.marks[-1].samples == SPEC.sound_samples
    assert not chunk.features[F * SPEC.feature_samples :][SPEC.feature_samples // 10 :].any()


def test_part_of_the_look_ahead_is_used() -> None:
    timeline = filled(F + 0.5)
    chunk = timeline.cut(timeline.plan(10.1, 10.1, talking=False), 10.1)
    ahead = chunk.features[F * SPEC.feature_samples :]
    assert ahead[: SPEC.feature_samples // 2 - 40].all()
    assert not ahead[SPEC.feature_samples // 2 :].any()


def test_too_little_waits_for_the_gap() -> None:
    timeline = filled(2)
    plan = timeline.plan(10.0, 11.0, talking=False)
    assert plan.at == pytest.approx(10.0 + GAP_S) and plan.closes and plan.starts


def test_an_urgent_picture_does_not_wait_for_speech_to_begin() -> None:
    timeline = filled(1)
    plan = timeline.plan(10.0, 10.05, talking=False)
    assert (plan.at, plan.lead_in, plan.closes, plan.starts) == (10.05, F, False, False)
    timeline.cut(plan, 10.05)
    assert not timeline.empty


def test_an_urgent_chunk_begins_with_silence_and_ends_with_speech() -> None:
    timeline = filled(L + 2)
    plan = timeline.plan(10.0, 10.02, talking=False)
    assert (plan.lead_in, plan.starts) == (F - 2, True)
    chunk = timeline.cut(plan, 10.02)
    assert [mark.samples > 0 for mark in chunk.marks] == [False, False, True, True]
    assert chunk.features[F * SPEC.feature_samples :][:-40].all()


def test_in_the_midst_of_speech_the_picture_waits() -> None:
    timeline = filled(F + L + 3)
    timeline.cut(timeline.plan(10.0, 10.0, talking=False), 10.0)
    timeline.cut(timeline.plan(10.1, 10.1, talking=True), 10.1)
    assert timeline.begun
    plan = timeline.plan(10.12, 10.12, talking=True)
    assert plan.at == pytest.approx(10.0 + GAP_S) and plan.closes
    assert timeline.plan(10.12, 10.12, talking=False).at == plan.at


def test_a_segment_does_not_end_before_the_picture_needs_it() -> None:
    timeline = filled(F + L + 1)
    timeline.cut(timeline.plan(10.0, 10.0, talking=False), 10.0)
    assert timeline.plan(10.5, 10.9, talking=True).at == pytest.approx(10.9)


def test_a_committed_segment_is_not_held_up_by_an_open_one() -> None:
    timeline = filled(2)
    timeline.commit()
    timeline.push(speech(T), RATE, 1, 10.0)
    plan = timeline.plan(10.0, 10.03, talking=True)
    assert plan.at == pytest.approx(10.03) and not plan.closes
    chunk = timeline.cut(plan, 10.03)
    names = [mark.segment.name if mark.segment else None for mark in chunk.marks]
    assert names == ["seg_1", "seg_1", None, None]
    assert not timeline.begun


def test_an_open_segment_may_begin_where_it_can_fill_the_chunk() -> None:
    timeline = filled(2)
    timeline.commit()
    timeline.push(speech(T * (2 + L)), RATE, 1, 10.0)
    chunk = timeline.cut(timeline.plan(10.0, 10.0, talking=False), 10.0)
    names = [mark.segment.name if mark.segment else None for mark in chunk.marks]
    assert names == ["seg_1", "seg_1", "seg_2", "seg_2"]


def test_a_segment_ends_on_a_frames_edge() -> None:
    timeline = filled(1.5)
    timeline.commit()
    timeline.push(speech(T * 8), RATE, 1, 10.0)
    chunk = timeline.cut(timeline.plan(10.0, 10.0, talking=False), 10.0)
    assert [mark.samples for mark in chunk.marks] == [1920, 960, 1920, 1920]
    sound = chunk.sound.reshape(F, -1)
    assert sound[1, :960].all() and not sound[1, 960:].any() and sound[2].all()


def test_another_form_of_sound_begins_another_segment() -> None:
    timeline = filled(4)
    timeline.push(speech(0.4, 24_000), 24_000, 1, 10.1)
    names = set()
    for _ in range(4):
        chunk = timeline.cut(timeline.plan(11.0, 11.0, talking=True), 11.0)
        names |= {mark.segment.name for mark in chunk.marks if mark.segment}
    assert names == {"seg_1", "seg_2"}


def test_a_form_that_cannot_be_taken_changes_nothing() -> None:
    timeline = filled(2)
    with pytest.raises(AudioError):
        timeline.push(speech(0.1), 4_000, 1, 10.0)
    with pytest.raises(AudioError):
        timeline.push(np.zeros(3, np.int16), RATE, 2, 10.0)
    timeline.push(speech(T), RATE, 1, 10.0)
    assert timeline.buffered_s == pytest.approx(3 * T)


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (16_000, 2), (24_000, 1), (44_100, 2)])
def test_any_rate_fills_both_queues_alike(rate: int, channels: int) -> None:
    timeline = ChunkScheduler(SPEC)
    pcm = np.repeat(speech(2.0, rate), channels)
    for piece in np.array_split(pcm.reshape(-1, channels), 37):
        timeline.push(np.ascontiguousarray(piece).ravel(), rate, channels, 10.0)
    timeline.commit()
    frames = 0
    while not timeline.empty:
        chunk = timeline.cut(timeline.plan(11.0, 11.0, talking=True), 11.0)
        frames += sum(mark.samples > 0 for mark in chunk.marks)
    assert frames in (50, 51)


def test_clear_forgets_everything() -> None:
    timeline = filled(20)
    timeline.clear()
    assert timeline.empty and timeline.buffered_s == 0
    assert timeline.plan(10.0, 10.2, talking=True).lead_in == F


def test_room_is_what_is_left_of_the_limit() -> None:
    assert filled(25).room_s == pytest.approx(MAX_BUFFER_S - 1)


def test_tiny_segments_fill_the_buffer_too() -> None:
    timeline, pushed = ChunkScheduler(SPEC), 0
    while timeline.room_s > 0 and pushed < 2000:
        timeline.push(speech(1 / RATE), RATE, 1, 10.0)
        timeline.commit()
        pushed += 1
    assert pushed == pytest.approx(MAX_BUFFER_S / T, abs=1)
    timeline.cut(timeline.plan(11.0, 11.0, talking=True), 11.0)
    assert timeline.room_s == pytest.approx(F * T, abs=T)


def test_segments_too_short_to_be_heard_do_not_pile_up() -> None:
    timeline = filled(2)
    timeline.commit()
    for _ in range(50):
        timeline.push(np.zeros(0, np.int16), RATE, 1, 10.0)
        timeline.commit()
    assert timeline.buffered_s == pytest.approx(2 * T)
    timeline.cut(timeline.plan(11.0, 11.0, talking=True), 11.0)
    assert timeline.empty


def test_committing_nothing_is_nothing() -> None:
    timeline = ChunkScheduler(SPEC)
    timeline.commit()
    timeline.push(np.zeros(0, np.int16), RATE, 1, 10.0)
    timeline.commit()
    assert timeline.empty


def test_a_microphone_waits_for_the_moment_once_it_runs() -> None:
    timeline = filled(F + L, live=True)
    assert timeline.plan(10.0, 10.2, talking=False).at == 10.0
    assert timeline.plan(10.0, 10.2, talking=True).at == 10.2


def test_a_microphone_loses_quiet_frames_first() -> None:
    timeline = ChunkScheduler(SPEC, live=True)
    timeline.push(np.concatenate([room(4 * T), speech(8 * T)]), RATE, 1, 10.0)
    assert timeline.dropped_frames == 4
    assert timeline.buffered_s == pytest.approx(8 * T)


def test_a_microphone_keeps_speech_within_its_limit_and_drops_beyond() -> None:
    timeline = filled(F + L + LIVE_LIMIT, live=True)
    assert timeline.dropped_frames == 0
    timeline.push(speech(T), RATE, 1, 10.0)
    assert timeline.dropped_frames == LIVE_LIMIT + 1
    assert timeline.buffered_s == pytest.approx((F + L) * T)
    assert LIVE_SLACK < LIVE_LIMIT
