"""What is saved of a talk begins where it can be decoded, and its numbers are right."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from client_demo.frames import ReceivedFrame
from client_demo.saving import SavedRecording
from client_demo.talk import TalkRecorder
from tests.support.av_frames import FORMAT, encode_frames
from tests.support.beeps import beeps

pytestmark = pytest.mark.unit


class Arrivals:
    """Feeds a recorder; each frame arrives 40 ms after the one before, plus a delay."""

    def __init__(self, path: Path) -> None:
        self.now = 100.0
        self.recording = SavedRecording(path, FORMAT)
        self.recorder = TalkRecorder(self.recording, FORMAT, lambda: self.now)
        self.recorder.began = self.now

    def arrive(self, frame: ReceivedFrame, *, delay_s: float = 0.0, speaking: bool = True) -> None:
        self.now += 1 / FORMAT.fps + delay_s
        self.recorder.take(dataclasses.replace(frame, speaking=speaking))


@pytest.fixture
def stream() -> list[ReceivedFrame]:
    """Two seconds; keyframes at 0 and 25."""
    return list(encode_frames(beeps(2.0)))


def test_idle_frames_before_speech_are_kept_only_as_far_as_decoding_needs(
    tmp_path: Path, stream: list[ReceivedFrame]
) -> None:
    arrivals = Arrivals(tmp_path / "talk.mp4")
    for frame in stream:
        arrivals.arrive(frame, speaking=frame.index >= 30)
    arrivals.recording.close()
    talk = arrivals.recorder.talk
    assert talk.lead_in_ms == 200, "frames 25 to 29"
    assert (talk.frames, talk.speaking_frames) == (25, 20)
    assert talk.first_frame_ms == pytest.approx(31 * 40)
    assert talk.saved_s == 1.0


def test_speech_that_begins_with_a_keyframe_has_no_lead_in(
    tmp_path: Path, stream: list[ReceivedFrame]
) -> None:
    arrivals = Arrivals(tmp_path / "talk.mp4")
    for frame in stream:
        arrivals.arrive(frame, speaking=frame.index >= 25)
    arrivals.recording.close()
    assert arrivals.recorder.talk.lead_in_ms == 0
    assert arrivals.recorder.talk.frames == 25


def test_a_pause_counts_one_late_frame_and_a_gap_its_missing_ones(
    tmp_path: Path, stream: list[ReceivedFrame]
) -> None:
    arrivals = Arrivals(tmp_path / "talk.mp4")
    for frame in stream:
        if frame.index == 10:
            arrivals.arrive(frame, delay_s=0.2)
        elif frame.index not in (20, 21):
            arrivals.arrive(frame)
    arrivals.recording.close()
    talk = arrivals.recorder.talk
    assert (talk.late_units, talk.missing_units) == (1, 2)
    assert talk.saved_s == 2.0, "what is missing still takes its time"


def test_numbers_are_plain_in_json(tmp_path: Path, stream: list[ReceivedFrame]) -> None:
    arrivals = Arrivals(tmp_path / "talk.mp4")
    arrivals.arrive(stream[0])
    arrivals.recording.close()
    record = arrivals.recorder.talk.as_dict()
    assert record["first_frame_ms"] == 40.0 and record["frames"] == 1
