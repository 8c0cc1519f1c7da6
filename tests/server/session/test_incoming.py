"""Speech on its way in: the queue, both rates, the voice gate, the tracker of what plays."""

from __future__ import annotations

import numpy as np
import pytest

from server.media.resampler import AudioFormat
from server.session.incoming import IDLE, Fifo, FrameTag, IncomingSpeech, Segment, VoiceGate
from server.session.segments import SegmentTracker
from tests.support.sound import room, speech
from tests.support.workers import SPEC

pytestmark = pytest.mark.unit

SEGMENT = Segment("seg_1", 0.0)


def test_a_fifo_gives_samples_in_order_then_zeros() -> None:
    fifo = Fifo(np.int16)
    for start in range(0, 100, 7):
        fifo.push(np.arange(start, min(start + 7, 100), dtype=np.int16))
    assert len(fifo) == 100
    assert fifo.peek(3).tolist() == [0, 1, 2]
    got = [fifo.pop(count) for count in (1, 30, 7, 50)]
    assert np.concatenate(got).tolist() == list(range(88))
    assert fifo.pop(20).tolist() == [*range(88, 100), *([0] * 8)]
    assert len(fifo) == 0
    assert fifo.pop(2).tolist() == [0, 0]


def test_a_fifo_matches_one_long_array() -> None:
    generator = np.random.default_rng(1)
    fifo, reference = Fifo(np.float32), np.zeros(0, np.float32)
    for _ in range(300):
        piece = generator.standard_normal(generator.integers(0, 50)).astype(np.float32)
        fifo.push(piece)
        reference = np.concatenate([reference, piece])
        count = int(generator.integers(0, 60))
        expected = np.zeros(count, np.float32)
        part = reference[:count]
        expected[: part.size] = part
        assert np.array_equal(fifo.pop(count), expected)
        reference = reference[count:]
        assert len(fifo) == reference.size


def test_both_rates_hold_the_same_frames() -> None:
    incoming = IncomingSpeech(SPEC, SEGMENT, AudioFormat(44_100, 2))
    rate, tone = 44_100, np.zeros(44_100, np.int16)
    tone[rate // 2 :] = 10_000
    incoming.push(np.repeat(tone, 2), 1.0)
    incoming.close()
    assert incoming.frames == 25
    loud = []
    for _ in range(25):
        frame = incoming.take()
        loud.append((bool(abs(frame.features).mean() > 0.15), bool(abs(frame.sound).mean() > 5000)))
    assert loud[:12] == [(False, False)] * 12 and loud[13:] == [(True, True)] * 12
    assert loud[12][0] == loud[12][1]


def test_what_arrived_is_known_before_the_filter_lets_it_go() -> None:
    incoming = IncomingSpeech(SPEC, SEGMENT, AudioFormat(16_000))
    incoming.push(speech(0.24, 16_000), 1.0)
    assert (incoming.arrived, incoming.frames) == (6, 5)
    incoming.close()
    assert (incoming.arrived, incoming.frames) == (6, 6)
    incoming.take()
    assert incoming.arrived == 5


def test_a_gate_opens_at_once_and_closes_after_a_while() -> None:
    gate = VoiceGate()
    loud, quiet = speech(0.04), room(0.04)
    assert [gate.hears(quiet), gate.hears(loud)] == [False, True]
    heard = [gate.hears(quiet) for _ in range(10)]
    assert heard == [True] * (VoiceGate.HANG_FRAMES - 1) + [False] * (11 - VoiceGate.HANG_FRAMES)


def test_a_gate_hears_no_constant_offset() -> None:
    gate = VoiceGate()
    assert not gate.hears(room(0.04) + np.int16(3000))
    assert gate.hears(speech(0.04) + np.int16(3000))


def events_of(tracker: SegmentTracker, *tags: FrameTag) -> list[tuple[str, str, int]]:
    """Events of a row of frames."""
    return [
        (name, segment.name, position)
        for tag in tags
        for name, segment, position in tracker.play(tag)
    ]


def test_a_tracker_tells_each_segment_once() -> None:
    first, second = FrameTag(SEGMENT, 1920), FrameTag(Segment("seg_2", 0.0), 1920)
    short = FrameTag(SEGMENT, 480)
    tracker = SegmentTracker()
    assert events_of(tracker, IDLE, first, first, short, second, IDLE, IDLE) == [
        ("started", "seg_1", 0),
        ("stopped", "seg_1", 90),
        ("started", "seg_2", 0),
        ("stopped", "seg_2", 40),
    ]


def test_a_tracker_clears_what_it_started_and_nothing_else() -> None:
    tracker = SegmentTracker()
    assert list(tracker.end("cleared")) == []
    events_of(tracker, FrameTag(SEGMENT, 1920))
    assert tracker.position_ms == 40
    assert list(tracker.end("cleared")) == [("cleared", SEGMENT, 40)]
    assert list(tracker.end("cleared")) == []
    assert events_of(tracker, IDLE) == []


def test_quiet_sound_of_a_microphone_counts_in_no_segment() -> None:
    tracker = SegmentTracker()
    assert events_of(tracker, FrameTag(None, 1920), FrameTag(None, 1920)) == []
    assert tracker.position_ms == 0
