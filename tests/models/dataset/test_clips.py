"""Tests that the clip reader takes finished clips and refuses all others."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.dataset.clip_files import write_portrait
from models.dataset.clips import ClipError, list_clips, load_clip
from models.dataset.frames import write_frames

pytestmark = pytest.mark.unit

FRAMES, TRACK = 3, 5


def write_clip(folder: Path, *, split: str = "train", complete: bool = True, **change: Any) -> Path:
    """A tiny clip; ``change`` replaces arrays of the track."""
    folder.mkdir(parents=True)
    write_frames(folder / "video.npz", [np.full((256, 256, 3), 9, np.uint8)] * FRAMES)
    write_portrait(folder, np.full((300, 200, 3), 9, np.uint8))
    arrays: dict[str, Any] = {
        "mouth": np.zeros((TRACK, 13), np.float32),
        "motion": np.zeros((TRACK, 7), np.float32),
        "mouth_xy": np.zeros((FRAMES, 2), np.float32),
        "eyes_xy": np.zeros((FRAMES, 4), np.float32),
        "neutral": np.zeros((256, 256, 3), np.uint8),
        "photo": np.zeros((256, 256, 3), np.uint8),
        "cover": np.zeros((64, 64), np.uint8),
        "window": np.eye(2, 3),
    }
    np.savez(folder / "track.npz", **{**arrays, **change})
    write_sound(folder / "audio.wav", TRACK * 640)
    meta = {"split": split, "fps": 25, "complete": complete}
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return folder


def write_sound(path: Path, samples: int, rate: int = 16_000) -> None:
    """A ramp, mono, 16 bit."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.arange(samples, dtype="<i2").tobytes())


def test_reads_a_finished_clip(tmp_path: Path) -> None:
    clip = load_clip(write_clip(tmp_path / "clips" / "004"))
    assert clip.name == "004"
    assert clip.frames == FRAMES
    assert clip.audio.dtype == np.float32
    assert clip.audio.shape == (TRACK * 640,)
    assert clip.audio[1] == np.float32(1 / 32768)
    np.testing.assert_allclose(clip.video[FRAMES - 1], 9, atol=1)
    assert clip.portrait.shape == (300, 200, 3)


def test_lists_finished_clips_by_split(tmp_path: Path) -> None:
    root = tmp_path / "clips"
    write_clip(root / "001")
    write_clip(root / "000")
    write_clip(root / "900", split="held_out")
    write_clip(root / "002", complete=False)
    (root / "003").mkdir()
    assert [p.name for p in list_clips(tmp_path)] == ["000", "001", "900"]
    assert [p.name for p in list_clips(tmp_path, "train")] == ["000", "001"]
    assert [p.name for p in list_clips(tmp_path, "held_out")] == ["900"]


def test_says_what_to_do_without_data(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match="livehead data synth"):
        list_clips(tmp_path)


def test_refuses_an_unfinished_clip(tmp_path: Path) -> None:
    folder = write_clip(tmp_path / "a")
    (folder / "meta.json").unlink()
    with pytest.raises(ClipError, match="finished"):
        load_clip(folder)
    with pytest.raises(ClipError, match="complete=False"):
        load_clip(write_clip(tmp_path / "b", complete=False))


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("mouth", np.zeros((TRACK, 12), np.float32)),
        ("motion", np.zeros((TRACK, 7), np.float64)),
        ("mouth_xy", np.zeros((FRAMES + 1, 2), np.float32)),
        ("eyes_xy", np.zeros((FRAMES, 2), np.float32)),
        ("neutral", np.zeros((128, 128, 3), np.uint8)),
        ("photo", np.zeros((256, 256), np.uint8)),
        ("cover", np.zeros((64, 64), np.float32)),
        ("window", np.eye(3)),
    ],
)
def test_refuses_misshapen_arrays(tmp_path: Path, name: str, array: Any) -> None:
    with pytest.raises(ClipError, match=f"expected {name} "):
        load_clip(write_clip(tmp_path / "c", **{name: array}))


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    folder = write_clip(tmp_path / "c")
    (folder / "video.npz").unlink()
    with pytest.raises(ClipError, match="missing"):
        load_clip(folder)


def test_refuses_sound_that_does_not_fit(tmp_path: Path) -> None:
    short = write_clip(tmp_path / "short")
    write_sound(short / "audio.wav", TRACK * 640 - 1)
    with pytest.raises(ClipError, match="audio samples"):
        load_clip(short)
    fast = write_clip(tmp_path / "fast")
    write_sound(fast / "audio.wav", TRACK * 640, rate=24_000)
    with pytest.raises(ClipError, match="16 kHz"):
        load_clip(fast)


def test_refuses_a_track_shorter_than_the_video(tmp_path: Path) -> None:
    mouth, motion = np.zeros((2, 13), np.float32), np.zeros((2, 7), np.float32)
    with pytest.raises(ClipError, match="all 3 frames"):
        load_clip(write_clip(tmp_path / "c", mouth=mouth, motion=motion))
