"""A puppet whose mouth opens with the loudness of its sound: small clips, and their generator."""

from __future__ import annotations

import json
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.audio import SAMPLE_RATE
from models.dataset.clips import FRAME_SAMPLES
from models.dataset.frames import write_frames
from models.face.geometry import Similarity
from models.face.portrait import Portrait, prepare_portrait
from models.face.window import SIDE
from models.io.face_box import FaceBox
from models.io.image import load_image
from models.mini.motion import MOTION, MOUTH_UNITS

PHOTO = Path(__file__).parents[1] / "data" / "astronaut.jpg"
LOUDEST = 0.3


@cache
def portrait() -> Portrait:
    """The photograph's portrait: the neutral puppet."""
    return prepare_portrait(load_image(PHOTO))


def to_window(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Points of the portrait in its face window, flat."""
    return portrait().to_window.apply(points.reshape(-1, 2)).reshape(points.shape)


def paint(opening: float, eyes: float = 1.0) -> NDArray[np.uint8]:
    """The face window with mouth open (0..1) and eyes open (0..1), RGB uint8 [256, 256, 3]."""
    picture = portrait().window.copy()
    x, y = (int(v) for v in to_window(portrait().mouth_xy))
    tall = max(1, round(20 * opening))
    cv2.ellipse(picture, (x, y + tall // 2), (36, 12 + tall), 0, 0, 360, (186, 100, 96), -1)
    cv2.ellipse(picture, (x, y + tall // 2), (28, tall), 0, 0, 360, (60, 20, 20), -1)
    if eyes < 0.5:
        for ex, ey in to_window(portrait().eyes_xy).reshape(2, 2).astype(int):
            cv2.ellipse(picture, (int(ex), int(ey)), (17, 7), 0, 0, 360, (190, 140, 120), -1)
    return picture


def babble(frames: int, seed: int) -> NDArray[np.float32]:
    """Noise with syllables and a pause in its middle, float32 [frames * 640]."""
    rng = np.random.default_rng(seed)
    steps = np.repeat(rng.uniform(0, LOUDEST, frames // 3 + 1), 3)[:frames]
    steps[frames // 2 : frames // 2 + frames // 5] = 0
    envelope = np.repeat(steps, FRAME_SAMPLES)
    noise: NDArray[np.float64] = envelope * rng.choice([-1.0, 1.0], envelope.size)
    return noise.astype(np.float32)


def openings(audio: NDArray[np.float32]) -> NDArray[np.float64]:
    """How far the puppet opens its mouth in each frame of a sound, [T] in 0..1."""
    power = (audio.reshape(-1, FRAME_SAMPLES).astype(np.float64) ** 2).mean(1)
    wide: NDArray[np.float64] = np.sqrt(power) / LOUDEST
    return wide.clip(0, 1)


def write_clip(data: Path, name: str, split: str, frames: int = 50, seed: int = 1) -> Path:
    """Write a clip of the puppet in the clip format; returns its folder."""
    folder = data / "clips" / name
    folder.mkdir(parents=True)
    audio = babble(frames, seed)
    wide = openings(audio)
    mouth = np.zeros((frames, len(MOUTH_UNITS)), np.float32)
    mouth[:, MOUTH_UNITS.index("jawOpen")] = wide
    mouth[:, MOUTH_UNITS.index("mouthPress")] = wide < 0.05
    write_frames(folder / "video.npz", (paint(float(value)) for value in wide))
    np.savez(
        folder / "track.npz",
        mouth=mouth,
        motion=np.zeros((frames, len(MOTION)), np.float32),
        mouth_xy=np.tile(to_window(portrait().mouth_xy), (frames, 1)).astype(np.float32),
        eyes_xy=np.tile(to_window(portrait().eyes_xy), (frames, 1)).astype(np.float32),
        neutral=paint(0.0),
        photo=paint(0.0),
        cover=np.asarray(portrait().cover * 255, np.uint8),
        window=portrait().to_window.matrix,
    )
    options = [cv2.IMWRITE_JPEG_QUALITY, 97]
    coded = cv2.imencode(".jpg", portrait().picture[..., ::-1], options)[1]
    (folder / "portrait.jpg").write_bytes(coded.tobytes())
    with wave.open(str(folder / "audio.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((audio * 32767).round().astype("<i2").tobytes())
    shut = (frames // 2 + frames // 10) / 25 + 0.065
    speech = {"phonemes": [["a", 0.1, 0.3], ["b", shut - 0.05, shut + 0.05], ["m", 900.0, 900.1]]}
    (folder / "speech.json").write_text(json.dumps(speech))
    meta = {"split": split, "identity_seed": seed, "fps": 25, "complete": True}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


@dataclass(frozen=True)
class ShownWindow:
    """A portrait that is its own face window."""

    window: NDArray[np.uint8]
    picture: NDArray[np.uint8]
    to_window: Similarity


@dataclass(frozen=True)
class PuppetIdentity:
    """What ``PuppetGenerator`` prepares."""

    portrait: ShownWindow


@dataclass
class PuppetStream:
    """Mouth openings of the frames to come, oldest first."""

    openings: list[float]


class PuppetGenerator:
    """Implements ``Generator``: the true puppet, ``late`` frames late and ``scale`` as wide."""

    def __init__(self, late: int = 0, scale: float = 1.0) -> None:
        self.late, self.scale = late, scale
        self.fps = 25.0
        self.size = (SIDE, SIDE)
        self.chunk_frames = 4
        self.lookahead_frames = 2
        self.sample_rate = SAMPLE_RATE

    def prepare(
        self, portrait: NDArray[np.uint8] | None = None, box: FaceBox | None = None
    ) -> PuppetIdentity:
        """Whatever the portrait, the puppet is the same."""
        still = paint(0.0)
        return PuppetIdentity(ShownWindow(still, still, Similarity(np.eye(2, 3))))

    def open(
        self, identity: Any, *, seed: int = 0, speech: NDArray[np.float32] | None = None
    ) -> PuppetStream:
        """Start with a closed mouth."""
        return PuppetStream([0.0] * self.late)

    def close(self, stream: PuppetStream) -> None:
        """Nothing is held."""

    def generate(
        self, streams: Sequence[PuppetStream], audio: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.uint8]]:
        """The next four frames of each stream."""
        chunks = []
        for stream, samples in zip(streams, audio, strict=True):
            chunk = samples[: self.chunk_frames * FRAME_SAMPLES]
            stream.openings += openings(chunk).tolist()
            next_openings = [stream.openings.pop(0) for _ in range(self.chunk_frames)]
            chunks.append(np.stack([paint(self.scale * value) for value in next_openings]))
        return chunks
