"""A video becomes 25 frames a second with their sound, or one line on why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.finetune.footage import FootageError, read_footage
from models.finetune.tracking import track_landmarks
from models.io.video import Mp4Writer

pytestmark = pytest.mark.unit

RATE = 16000
SECONDS = 9


def tone(seconds: float = SECONDS, loud: float = 0.3) -> NDArray[np.float32]:
    t = np.arange(round(seconds * RATE)) / RATE
    return (loud * np.sin(2 * np.pi * 300 * t)).astype(np.float32)[:, None]


def film(path: Path, fps: float, sound: NDArray[np.float32], seconds: float = SECONDS) -> Path:
    """Grey frames that become lighter with time."""
    with Mp4Writer(path, (64, 96), fps, sound, RATE) as writer:
        for k in range(round(seconds * fps)):
            level = round(20 + 20 * k / fps)
            writer.write(np.full((64, 96, 3), level, np.uint8))
    return path


@pytest.mark.parametrize("fps", [25.0, 30.0, 24.0, 50.0])
def test_frames_are_25_a_second(tmp_path: Path, fps: float) -> None:
    footage = read_footage(film(tmp_path / "a.mp4", fps, tone()))
    levels = np.array([frame.mean() for frame in footage.frames()])
    assert footage.length == len(levels) == pytest.approx(SECONDS * 25, abs=1)
    expected = 20 + 20 * np.arange(len(levels)) / 25
    assert np.abs(levels - expected).max() < 2.5
    assert footage.sound.shape == (footage.length * 640,)


@pytest.mark.parametrize(
    ("seconds", "loud", "code"), [(3, 0.3, "too_short"), (SECONDS, 0.0, "no_sound")]
)
def test_what_cannot_teach_is_refused(
    tmp_path: Path, seconds: float, loud: float, code: str
) -> None:
    path = film(tmp_path / "a.mp4", 25, tone(seconds, loud), seconds)
    with pytest.raises(FootageError) as caught:
        read_footage(path)
    assert caught.value.code == code and "\n" not in str(caught.value)


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"not a video")
    with pytest.raises(FootageError, match="readable video") as caught:
        read_footage(path)
    assert caught.value.code == "bad_video" and str(tmp_path) not in str(caught.value)


def test_a_video_without_a_face_is_refused() -> None:
    frames = [np.full((64, 96, 3), 90, np.uint8)] * 10
    with pytest.raises(FootageError) as caught:
        track_landmarks(frames, len(frames))
    assert caught.value.code == "no_face"


def test_two_people_are_refused(photo: NDArray[np.uint8]) -> None:
    pair = np.concatenate([photo, photo], 1)
    with pytest.raises(FootageError) as caught:
        track_landmarks([pair] * 101, 101)
    assert caught.value.code == "several_faces"
