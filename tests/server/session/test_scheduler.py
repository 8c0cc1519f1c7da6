"""The rules of cutting, one by one; the times are arguments."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import AudioError
from server.media.resampler import AudioFormat
from server.session.scheduler import (
    END_S,
    GAP_S,
    LIVE_LIMIT,
    LIVE_LOOKAHEAD,
    LIVE_SLACK,
    MAX_BUFFER_S,
    Chunk,
    ChunkScheduler,
)
from tests.support.sound import room, speech
from tests.support.workers import SPEC

pytestmark = pytest.mark.unit

F, L, T = SPEC.chunk_frames, SPEC.lookahead_frames, SPEC.frame_s
RATE = 48_000
MONO = AudioFormat(RATE)


def filled(frames: float, *, live: bool = False, now: float = 10.0) -> ChunkScheduler:
    """A scheduler with an open segment of so many frames, pushed at ``now``."""
    scheduler = ChunkScheduler(SPEC, live=live)
    scheduler.push(speech(frames * T), MONO, now)
    return scheduler


def test_idle_is_cut_at_the_last_moment() -> None:
    scheduler = ChunkScheduler(SPEC)
    cut = scheduler.next_cut(10.0, 10.3, talking=False)
    assert (cut.at, cut.leading_silence, cut.starts) == (10.3, F, False)
    chunk = scheduler.take(cut, 10.3)
    assert not chunk.features.any() and not chunk.sound.any()
    assert all(tag.segment is None and tag.samples == 0 for tag in chunk.tags)


def test_a_late_caller_is_told_to_cut_now() -> None:
    assert ChunkScheduler(SPEC).next_cut(10.0, 9.0, talking=False).at == 10.0


def test_known_speech_is_cut_now() -> None:
    cut = filled(F + L).next_cut(10.0, 10.3, talking=False)
    assert (cut.at, cut.leading_silence, cut.starts) == (10.0, 0, True)


def test_committed_speech_is_cut_now_however_short() -> None:
    scheduler = filled(0.3)
    scheduler.commit()
    cut = scheduler.next_cut(10.0, 10.3, talking=False)
    assert (cut.at, cut.leading_silence) == (10.0, 0)
    chunk = scheduler.take(cut, 10.0)
    assert [tag.samples > 0 for tag in chunk.tags] == [True, False, False, False]
    assert scheduler.empty


def test_live_look_ahead_is_waited_for_no_longer_than_it_lasts() -> None:
    scheduler = filled(F + 0.1)
    cut = scheduler.next_cut(10.0, 10.3, talking=False)
    assert cut.at == pytest.approx(10.0 + LIVE_LOOKAHEAD * T) and not cut.pauses
    chunk = scheduler.take(cut, cut.at)
    assert chunk.tags[-1].samples == SPEC.sound_samples
    assert not chunk.features[F * SPEC.feature_samples :][SPEC.feature_samples // 10 :].any()


def test_in_the_midst_of_speech_look_ahead_is_waited_for_until_the_deadline() -> None:
    scheduler = filled(2 * F + LIVE_LOOKAHEAD + 0.1)
    scheduler.take(scheduler.next_cut(10.0, 10.0, talking=False), 10.0)
    assert scheduler.next_cut(10.1, 10.3, talking=True).at == pytest.approx(10.3)
    assert scheduler.next_cut(10.1, 10.05, talking=True).at == pytest.approx(10.1)
    scheduler.push(speech(L * T), MONO, 10.11)
    assert scheduler.next_cut(10.11, 10.3, talking=True).at == pytest.approx(10.11)


def test_part_of_the_look_ahead_is_used() -> None:
    scheduler = filled(F + 0.5)
    chunk = scheduler.take(scheduler.next_cut(10.1, 10.1, talking=False), 10.1)
    ahead = chunk.features[F * SPEC.feature_samples :]
    assert ahead[: SPEC.feature_samples // 2 - 40].all()
    assert not ahead[SPEC.feature_samples // 2 :].any()


def test_too_little_waits_for_the_gap() -> None:
    scheduler = filled(2)
    cut = scheduler.next_cut(10.0, 11.0, talking=False)
    assert cut.at == pytest.approx(10.0 + GAP_S) and cut.pauses and cut.starts


def test_an_urgent_picture_does_not_wait_for_speech_to_begin() -> None:
    scheduler = filled(1)
    cut = scheduler.next_cut(10.0, 10.05, talking=False)
    assert (cut.at, cut.leading_silence, cut.pauses, cut.starts) == (10.05, F, False, False)
    scheduler.take(cut, 10.05)
    assert not scheduler.empty


def test_an_urgent_chunk_begins_with_silence_and_ends_with_speech() -> None:
    scheduler = filled(LIVE_LOOKAHEAD + 2)
    cut = scheduler.next_cut(10.0, 10.02, talking=False)
    assert (cut.leading_silence, cut.starts) == (F - 2, True)
    chunk = scheduler.take(cut, 10.02)
    assert [tag.samples > 0 for tag in chunk.tags] == [False, False, True, True]
    assert chunk.features[F * SPEC.feature_samples :][: SPEC.feature_samples - 40].all()


def test_in_the_midst_of_speech_the_picture_waits() -> None:
    scheduler = filled(F + L + 3)
    scheduler.take(scheduler.next_cut(10.0, 10.0, talking=False), 10.0)
    scheduler.take(scheduler.next_cut(10.1, 10.1, talking=True), 10.1)
    assert scheduler.started
    cut = scheduler.next_cut(10.12, 10.12, talking=True)
    assert cut.at == pytest.approx(10.0 + GAP_S) and cut.pauses
    assert scheduler.next_cut(10.12, 10.12, talking=False).at == cut.at


def paused(now: float = 10.5) -> ChunkScheduler:
    """A scheduler whose segment, seg_1, was cut to its end at ``now`` and is still open."""
    scheduler = filled(F + L + 1.5)
    scheduler.take(scheduler.next_cut(10.0, 10.0, talking=False), 10.0)
    chunk = scheduler.take(scheduler.next_cut(now, now, talking=True), now)
    assert [tag.samples for tag in chunk.tags] == [1920, 1920, 1920, 960]
    return scheduler


def names_of(chunk: Chunk) -> list[str | None]:
    """The segments of a chunk's frames."""
    return [tag.segment.name if tag.segment else None for tag in chunk.tags]


def test_a_pause_is_silence_that_belongs_to_the_segment() -> None:
    scheduler = paused()
    assert not scheduler.empty and scheduler.buffered_s == 0
    cut = scheduler.next_cut(10.6, 10.8, talking=True)
    assert (cut.at, cut.leading_silence, cut.starts) == (10.8, F, False)
    chunk = scheduler.take(cut, 10.8)
    assert names_of(chunk) == ["seg_1"] * F and not any(tag.samples for tag in chunk.tags)
    assert not chunk.features.any() and not chunk.sound.any()


def test_speech_goes_on_after_a_pause_as_it_began() -> None:
    scheduler = paused()
    scheduler.push(speech(T), MONO, 11.0)
    cut = scheduler.next_cut(11.0, 11.05, talking=True)
    assert (cut.at, cut.leading_silence, cut.starts) == (11.05, F, False)
    scheduler.push(speech((F + L) * T), MONO, 11.02)
    cut = scheduler.next_cut(11.02, 11.05, talking=False)
    assert (cut.at, cut.leading_silence, cut.starts) == (11.02, 0, True)
    chunk = scheduler.take(cut, 11.02)
    assert names_of(chunk) == ["seg_1"] * F
    assert [tag.samples for tag in chunk.tags] == [1920] * F
    assert chunk.features[F * SPEC.feature_samples :].all()


def test_a_commit_in_a_pause_ends_the_segment() -> None:
    scheduler = paused()
    scheduler.commit()
    assert scheduler.empty
    cut = scheduler.next_cut(10.6, 10.8, talking=True)
    assert names_of(scheduler.take(cut, 10.8)) == [None] * F


def test_a_segment_ends_after_a_long_time_without_data() -> None:
    scheduler = paused()
    for now, name in ((10 + END_S - 0.1, "seg_1"), (10 + END_S, None)):
        cut = scheduler.next_cut(now, now, talking=False)
        assert names_of(scheduler.take(cut, now)) == [name] * F
    scheduler.push(speech(1.0), MONO, 30.0)
    cut = scheduler.next_cut(30.0, 30.0, talking=False)
    assert names_of(scheduler.take(cut, 30.0)) == ["seg_2"] * F


@given(st.lists(st.integers(0, 9_000), max_size=40), st.integers(0, 40))
@settings(max_examples=100, deadline=None)
def test_no_sound_is_lost_or_doubled_wherever_speech_pauses(sizes: list[int], wait: int) -> None:
    scheduler, now, heard = ChunkScheduler(SPEC), 10.0, []
    sound = speech(sum(sizes) / RATE + 0.1)[: sum(sizes)]
    at = 0
    for k, size in enumerate([*sizes, 0, 0, 0]):
        if size:
            scheduler.push(sound[at : at + size], MONO, now)
        at += size
        if k == len(sizes):
            scheduler.commit()
        until = now + 0.02 * wait + (60 if k >= len(sizes) else 0)
        while (cut := scheduler.next_cut(now, now + 0.1, talking=False)).at <= until:
            now = cut.at
            chunk = scheduler.take(cut, now)
            frames = chunk.sound.reshape(F, -1)
            for tag, frame in zip(chunk.tags, frames, strict=True):
                assert tag.samples == np.count_nonzero(frame)
                assert tag.segment is None or tag.segment.name == "seg_1"
                heard.append(frame[: tag.samples])
        now = until
    expected = (sound.astype(np.float32) / 32768 * 32767).astype(np.int16)
    assert np.array_equal(np.concatenate(heard), expected)


def test_a_segment_does_not_end_before_the_picture_needs_it() -> None:
    scheduler = filled(F + L + 1)
    scheduler.take(scheduler.next_cut(10.0, 10.0, talking=False), 10.0)
    assert scheduler.next_cut(10.5, 10.9, talking=True).at == pytest.approx(10.9)


def test_a_committed_segment_is_not_held_up_by_an_open_one() -> None:
    scheduler = filled(2)
    scheduler.commit()
    scheduler.push(speech(T), MONO, 10.0)
    cut = scheduler.next_cut(10.0, 10.03, talking=True)
    assert cut.at == pytest.approx(10.03) and not cut.pauses
    chunk = scheduler.take(cut, 10.03)
    assert names_of(chunk) == ["seg_1", "seg_1", None, None]
    assert not scheduler.started


def test_an_open_segment_may_begin_where_it_can_fill_the_chunk() -> None:
    scheduler = filled(2)
    scheduler.commit()
    scheduler.push(speech(T * (2 + L)), MONO, 10.0)
    chunk = scheduler.take(scheduler.next_cut(10.0, 10.0, talking=False), 10.0)
    assert names_of(chunk) == ["seg_1", "seg_1", "seg_2", "seg_2"]


def test_a_segment_ends_on_a_frames_edge() -> None:
    scheduler = filled(1.5)
    scheduler.commit()
    scheduler.push(speech(T * 8), MONO, 10.0)
    chunk = scheduler.take(scheduler.next_cut(10.0, 10.0, talking=False), 10.0)
    assert [tag.samples for tag in chunk.tags] == [1920, 960, 1920, 1920]
    sound = chunk.sound.reshape(F, -1)
    assert sound[1, :960].all() and not sound[1, 960:].any() and sound[2].all()


def test_another_form_of_sound_begins_another_segment() -> None:
    scheduler = filled(4)
    scheduler.push(speech(0.4, 24_000), AudioFormat(24_000), 10.1)
    names = set()
    for _ in range(4):
        chunk = scheduler.take(scheduler.next_cut(11.0, 11.0, talking=True), 11.0)
        names |= {tag.segment.name for tag in chunk.tags if tag.segment}
    assert names == {"seg_1", "seg_2"}


def test_a_form_that_cannot_be_taken_changes_nothing() -> None:
    scheduler = filled(2)
    with pytest.raises(AudioError):
        scheduler.push(speech(0.1), AudioFormat(4_000), 10.0)
    with pytest.raises(AudioError):
        scheduler.push(np.zeros(3, np.int16), AudioFormat(RATE, 2), 10.0)
    scheduler.push(speech(T), MONO, 10.0)
    assert scheduler.buffered_s == pytest.approx(3 * T)


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (16_000, 2), (24_000, 1), (44_100, 2)])
def test_any_rate_fills_both_queues_alike(rate: int, channels: int) -> None:
    scheduler = ChunkScheduler(SPEC)
    pcm = np.repeat(speech(2.0, rate), channels)
    for piece in np.array_split(pcm.reshape(-1, channels), 37):
        scheduler.push(np.ascontiguousarray(piece).ravel(), AudioFormat(rate, channels), 10.0)
    scheduler.commit()
    frames = 0
    while not scheduler.empty:
        chunk = scheduler.take(scheduler.next_cut(11.0, 11.0, talking=True), 11.0)
        frames += sum(tag.samples > 0 for tag in chunk.tags)
    assert frames in (50, 51)


def test_clear_forgets_everything() -> None:
    scheduler = filled(20)
    scheduler.clear()
    assert scheduler.empty and scheduler.buffered_s == 0
    assert scheduler.next_cut(10.0, 10.2, talking=True).leading_silence == F


def test_room_is_what_is_left_of_the_limit() -> None:
    assert filled(25).free_s == pytest.approx(MAX_BUFFER_S - 1)


def test_tiny_segments_fill_the_buffer_too() -> None:
    scheduler, pushed = ChunkScheduler(SPEC), 0
    while scheduler.free_s > 0 and pushed < 2000:
        scheduler.push(speech(1 / RATE), MONO, 10.0)
        scheduler.commit()
        pushed += 1
    assert pushed == pytest.approx(MAX_BUFFER_S / T, abs=1)
    scheduler.take(scheduler.next_cut(11.0, 11.0, talking=True), 11.0)
    assert scheduler.free_s == pytest.approx(F * T, abs=T)


def test_segments_too_short_to_be_heard_do_not_pile_up() -> None:
    scheduler = filled(2)
    scheduler.commit()
    for _ in range(50):
        scheduler.push(np.zeros(0, np.int16), MONO, 10.0)
        scheduler.commit()
    assert scheduler.buffered_s == pytest.approx(2 * T)
    scheduler.take(scheduler.next_cut(11.0, 11.0, talking=True), 11.0)
    assert scheduler.empty


def test_committing_nothing_is_nothing() -> None:
    scheduler = ChunkScheduler(SPEC)
    scheduler.commit()
    scheduler.push(np.zeros(0, np.int16), MONO, 10.0)
    scheduler.commit()
    assert scheduler.empty


def test_a_microphone_waits_for_the_moment_once_it_runs() -> None:
    scheduler = filled(F + L, live=True)
    assert scheduler.next_cut(10.0, 10.2, talking=False).at == 10.0
    assert scheduler.next_cut(10.0, 10.2, talking=True).at == 10.2


def test_a_microphone_loses_quiet_frames_first() -> None:
    scheduler = ChunkScheduler(SPEC, live=True)
    scheduler.push(np.concatenate([room(4 * T), speech(8 * T)]), MONO, 10.0)
    assert scheduler.dropped_frames == 4
    assert scheduler.buffered_s == pytest.approx(8 * T)


def test_a_microphone_keeps_speech_within_its_limit_and_drops_beyond() -> None:
    scheduler = filled(F + L + LIVE_LIMIT, live=True)
    assert scheduler.dropped_frames == 0
    scheduler.push(speech(T), MONO, 10.0)
    assert scheduler.dropped_frames == LIVE_LIMIT + 1
    assert scheduler.buffered_s == pytest.approx((F + L) * T)
    assert LIVE_SLACK < LIVE_LIMIT
