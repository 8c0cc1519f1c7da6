"""Writes talking clips of portraits: one folder per clip, finished when ``meta.json`` is there."""

from __future__ import annotations

import json
import shutil
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.dataset.clips import FPS, FRAME_SAMPLES, Split
from models.dataset.frames import write_frames
from models.face.geometry import cut
from models.face.window import SIDE, face_cover, face_window
from models.mini.motion import MOTION, MOUTH_UNITS, IdleMotion
from models.puppets.camera_look import degrade
from models.puppets.portraits import FoundPortrait, Source
from models.puppets.puppet import Frame, Puppet
from models.puppets.speech_pool import write_audio

POSE = 3
"""The first columns of ``MOTION`` are the head's pose, which stands still in a face window."""
MAX_PORTRAIT = 768
"""Longest side of the portrait that a clip keeps."""


@dataclass(frozen=True)
class ClipPlan:
    """One clip: ``frames`` of a portrait that speaks a recording from frame ``start`` on.

    Attributes:
        number: names the folder; take: counts the clips of one portrait.
    """

    number: int
    source: Source
    take: int
    recording: Path
    start: int
    frames: int

    @property
    def split(self) -> Split:
        """Of its portrait."""
        return self.source.split


def clip_folder(out: Path, plan: ClipPlan) -> Path:
    """Folder of a clip inside the data folder ``out``."""
    return out / "clips" / f"{plan.number:04d}"


def write_clip(
    plan: ClipPlan, portrait: FoundPortrait, out: Path, on_frame: Callable[[], None]
) -> None:
    """Draw and write one clip; ``on_frame`` is called after each frame."""
    folder = clip_folder(out, plan)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = np.random.default_rng([plan.number, 41])
    picture, landmarks = portrait.picture, portrait.landmarks
    if plan.take or plan.split == "train":
        unit = float(np.linalg.norm(landmarks.mouth - landmarks.eyes.mean(0)))
        if rng.random() < 0.85:
            picture = degrade(picture, unit, rng)
    puppet = Puppet(picture, landmarks, glasses=plan.source.glasses)
    end = plan.start + plan.frames
    mouth = np.load(plan.recording / "mouth.npy")[plan.start : end]
    motion = IdleMotion(plan.number, FPS).frames(plan.frames)
    motion[:, :POSE] = 0.0
    if rng.random() < 0.5:  # brows and gaze that speech seldom shows
        motion[:, POSE + 1 :] *= 1.6
    at: list[Frame] = []

    def pictures() -> object:
        for row, idle in zip(mouth, motion, strict=True):
            frame = puppet.frame(row, idle)
            at.append(frame)
            yield frame.rgb
            on_frame()

    write_frames(folder / "video.npz", pictures())  # type: ignore[arg-type]
    window = face_window(landmarks)
    rest = puppet.frame(np.zeros(len(MOUTH_UNITS)), np.zeros(len(MOTION)))
    cover = face_cover(window.apply(landmarks.points[:, :2]))
    np.savez(
        folder / "track.npz",
        mouth=mouth.astype(np.float32),
        motion=motion.astype(np.float32),
        mouth_xy=np.stack([f.mouth for f in at]).astype(np.float32),
        eyes_xy=np.stack([f.eyes for f in at]).astype(np.float32),
        marks=np.stack([f.marks for f in at]).astype(np.float16),
        neutral=rest.rgb,
        photo=cut(picture, window, SIDE, "edge"),
        cover=(cover * 255 + 0.5).astype(np.uint8),
        window=window.matrix,
    )
    _write_portrait(folder / "portrait.jpg", picture)
    write_audio(folder / "audio.wav", _section(plan.recording / "audio.wav", plan.start, end))
    _write_speech(folder / "speech.json", plan, end)
    _write_meta(folder / "meta.json", plan)


def _write_portrait(path: Path, picture: NDArray[np.uint8]) -> None:
    options = [cv2.IMWRITE_JPEG_QUALITY, 97]
    path.write_bytes(cv2.imencode(".jpg", picture[..., ::-1], options)[1].tobytes())


def _section(path: Path, start: int, end: int) -> NDArray[np.float32]:
    with wave.open(str(path), "rb") as file:
        data = file.readframes(file.getnframes())
    whole = np.frombuffer(data, "<i2").astype(np.float32) / 32768
    return whole[start * FRAME_SAMPLES : end * FRAME_SAMPLES]


def _write_speech(path: Path, plan: ClipPlan, end: int) -> None:
    """What of the recording's record falls into the clip, in the clip's time."""
    record = json.loads((plan.recording / "speech.json").read_text(encoding="utf-8"))
    first, last = plan.start / FPS, end / FPS
    record["sentences"] = [
        {**s, "start": round(s["start"] - first, 3), "end": round(s["end"] - first, 3)}
        for s in record["sentences"]
        if s["end"] > first and s["start"] < last
    ]
    record["phonemes"] = [
        [symbol, round(a - first, 4), round(b - first, 4)]
        for symbol, a, b in record["phonemes"]
        if b > first and a < last
    ]
    path.write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")


def _write_meta(path: Path, plan: ClipPlan) -> None:
    record = {
        "split": plan.split,
        "identity_seed": plan.source.number,
        "portrait": plan.source.path.name,
        "take": plan.take,
        "recording": plan.recording.name,
        "start": plan.start,
        "fps": FPS,
        "complete": True,
    }
    scratch = path.with_suffix(".part")
    scratch.write_text(json.dumps(record, indent=1), encoding="utf-8")
    scratch.rename(path)
