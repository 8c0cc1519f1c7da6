"""A saved file has every frame once, the sound at its frames, and the right length."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import av
import numpy as np
import pytest

from client_demo.saving import SavedRecording
from tests.support.av_frames import FORMAT, encode_frames, onsets, read_audio, read_video
from tests.support.beeps import beeps

pytestmark = pytest.mark.unit

SECONDS = 3.0
AAC_SLACK_S = 0.03  # AAC comes in frames of 21 ms


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "talk.mp4"


def test_frames_are_copied_and_the_sound_keeps_step(path: Path) -> None:
    with SavedRecording(path, FORMAT) as recording:
        for frame in encode_frames(beeps(SECONDS)):
            recording.add(frame)
    assert (recording.frames, recording.seconds) == (75, SECONDS)
    times, numbers, flashes = read_video(path)
    assert numbers == list(range(75)), "every frame once, in order"
    assert times == pytest.approx(np.arange(75) / 25, abs=1e-3)
    sound = read_audio(path)
    assert len(sound) / FORMAT.sample_rate == pytest.approx(SECONDS, abs=AAC_SLACK_S)
    beep_s = [k / FORMAT.sample_rate for k in onsets(abs(sound) > 0.1, 9600)]
    flash_s = [times[k] for k in onsets(np.array(flashes), 5)]
    assert flash_s == pytest.approx([0.32, 1.32, 2.32], abs=0.001)
    assert beep_s == pytest.approx(flash_s, abs=0.01)


def test_nothing_before_the_first_keyframe_is_kept(path: Path) -> None:
    with SavedRecording(path, FORMAT) as recording:
        for frame in list(encode_frames(beeps(2.0)))[10:]:
            recording.add(frame)
    _, numbers, _ = read_video(path)
    assert numbers[0] == 25, "keyframes come every 25 frames"
    assert recording.frames == 25


def test_lost_frames_leave_a_pause_not_a_shift(path: Path) -> None:
    with SavedRecording(path, FORMAT) as recording:
        for frame in encode_frames(beeps(SECONDS), first_index=400):
            if not 410 <= frame.index < 425:
                recording.add(frame)
    assert recording.seconds == SECONDS
    times, numbers, _ = read_video(path)
    assert times[numbers.index(25)] == pytest.approx(1.0, abs=1e-3)
    beeps_at = onsets(abs(read_audio(path)) > 0.1, 9600)
    assert beeps_at[-1] / FORMAT.sample_rate == pytest.approx(2.32, abs=0.01)


def test_a_repeated_frame_is_written_once(path: Path) -> None:
    with SavedRecording(path, FORMAT) as recording:
        for frame in encode_frames(beeps(1.0)):
            recording.add(frame)
            recording.add(frame)
    assert recording.frames == 25


def test_the_picture_is_not_encoded_again(path: Path) -> None:
    originals = list(encode_frames(beeps(1.0)))
    with SavedRecording(path, FORMAT) as recording:
        for frame in originals:
            recording.add(frame)
    with av.open(str(path)) as file:
        saved = [len(bytes(packet)) for packet in file.demux(video=0) if packet.size]
    # Annex-B start codes become lengths of four bytes, parameter sets move to the header.
    assert saved[1:24] == pytest.approx([len(frame.picture) for frame in originals[1:24]], abs=8)


def test_jpeg_frames_are_refused(path: Path) -> None:
    jpeg = dataclasses.replace(next(encode_frames(beeps(1.0))), is_jpeg=True)
    with SavedRecording(path, FORMAT) as recording, pytest.raises(ValueError, match="video='h264'"):
        recording.add(jpeg)


def test_an_empty_recording_leaves_no_file(path: Path) -> None:
    SavedRecording(path, FORMAT).close()
    assert not list(path.parent.iterdir())


def test_an_error_leaves_no_file(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), SavedRecording(path, FORMAT) as recording:
        for frame in encode_frames(beeps(1.0)):
            recording.add(frame)
        raise ZeroDivisionError
    assert not list(path.parent.iterdir())
