"""Writes talking clips of portraits: one folder per clip, finished when ``meta.json`` is there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.dataset.clip_files import finish_clip, to_cover, write_audio, write_portrait
from models.dataset.clips import FPS, FRAME_SAMPLES, Split, read_audio
from models.dataset.frames import write_frames
from models.face.closed_mouth import ClosedMouth, close_mouth
from models.face.geometry import cut
from models.face.window import SIDE, face_cover, face_window
from models.mini.motion import HEAD, MOTION, IdleMotion
from models.puppets.camera_look import degrade
from models.puppets.portraits import FoundPortrait, PortraitFile
from models.puppets.puppet import Frame, Puppet

DEGRADED_SHARE = 0.85
"""Of the training clips show the portrait as another camera would have kept it."""
LIVELY_SHARE, LIVELY = 0.5, 1.6
"""Of the clips have gaze and brows that move more, by this factor."""


@dataclass(frozen=True)
class PhotoClipPlan:
    """One clip: ``frames`` of a portrait that speaks a recording from frame ``start`` on.

    Attributes:
        number: names the folder.
        source: the portrait.
        take: counts the clips of one portrait.
        recording: folder of the speech pool.
    """

    number: int
    source: PortraitFile
    take: int
    recording: Path
    start: int
    frames: int

    @property
    def split(self) -> Split:
        """The portrait's split."""
        return self.source.split


def clip_folder(out: Path, plan: PhotoClipPlan) -> Path:
    """Folder of a clip inside the data folder ``out``."""
    return out / "clips" / f"{plan.number:04d}"


def write_clip(
    plan: PhotoClipPlan, portrait: FoundPortrait, out: Path, on_frame: Callable[[], None]
) -> None:
    """Draw and write one clip; ``on_frame`` is called after each frame."""
    folder = clip_folder(out, plan)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = np.random.default_rng([plan.number, 41])
    picture, landmarks = portrait.picture, portrait.landmarks
    if (plan.take or plan.split == "train") and rng.random() < DEGRADED_SHARE:
        picture = degrade(picture, landmarks.unit, rng)
    puppet = Puppet(picture, landmarks, glasses=plan.source.glasses)
    end = plan.start + plan.frames
    mouth = np.load(plan.recording / "mouth.npy")[plan.start : end]
    motion = _motion(plan, rng)
    drawn: list[Frame] = []

    def pictures() -> Iterator[NDArray[np.uint8]]:
        for row, expression in zip(mouth, motion, strict=True):
            drawn.append(puppet.frame(row, expression))
            yield drawn[-1].rgb
            on_frame()

    write_frames(folder / "video.npz", pictures())
    window = face_window(landmarks)
    rest = close_mouth(picture, landmarks) or ClosedMouth(picture, landmarks)
    np.savez(
        folder / "track.npz",
        mouth=mouth.astype(np.float32),
        motion=motion.astype(np.float32),
        mouth_xy=np.stack([frame.mouth for frame in drawn]).astype(np.float32),
        eyes_xy=np.stack([frame.eyes for frame in drawn]).astype(np.float32),
        marks=np.stack([frame.marks for frame in drawn]).astype(np.float16),
        neutral=puppet.neutral,
        photo=cut(rest.picture, window, SIDE, "edge"),
        cover=to_cover(face_cover(window.apply(landmarks.points[:, :2]))),
        window=window.matrix,
    )
    write_portrait(folder, picture)
    audio = read_audio(plan.recording / "audio.wav")
    write_audio(folder / "audio.wav", audio[plan.start * FRAME_SAMPLES : end * FRAME_SAMPLES])
    _write_speech(folder / "speech.json", plan)
    finish_clip(
        folder,
        {
            "split": plan.split,
            "identity_seed": plan.source.number,
            "portrait": plan.source.path.name,
            "take": plan.take,
            "recording": plan.recording.name,
            "start": plan.start,
        },
    )


def _motion(plan: PhotoClipPlan, rng: np.random.Generator) -> NDArray[np.float32]:
    """Blinks, gaze and brows, float32 [T, 7]; the head's pose stays zero."""
    motion = IdleMotion(plan.number, FPS).frames(plan.frames)
    motion[:, :HEAD] = 0.0
    if rng.random() < LIVELY_SHARE:  # brows and gaze that speech seldom shows
        motion[:, MOTION.index("gaze_yaw") :] *= LIVELY
    return motion


def _write_speech(path: Path, plan: PhotoClipPlan) -> None:
    """Write the part of the recording's ``speech.json`` that the clip plays, in the clip's time."""
    record = json.loads((plan.recording / "speech.json").read_text(encoding="utf-8"))
    first, last = plan.start / FPS, (plan.start + plan.frames) / FPS
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
