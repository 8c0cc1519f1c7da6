"""Prepares what is compared: the true face windows of a clip and a generator's of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.dataset.clips import BILABIALS, FPS, FRAME_SAMPLES, PHONEME_DELAY, Clip
from models.errors import PortraitError
from models.face.geometry import Similarity, cut
from models.face.portrait import find_face
from models.face.window import SIDE, face_window
from models.generator import AnyGenerator, frame_count, generate_all
from models.io.console import progress
from models.mini.audio import LOOKAHEAD_FRAMES
from models.mini.life.life import BODY, LifeTrack
from models.mini.motion import MOTION
from models.mini.pipeline import MiniStream

NEUTRAL = 0.01
"""No blendshape of a neutral mouth is above this."""
_MOUTH_HALF = (46, 36)
"""Half width and height of the box around the mouth in which distances are measured, pixels."""
WHOLE_EVERY = 25
"""One whole frame of so many is kept."""


@dataclass(frozen=True)
class EvalClip:
    """One clip: T true face windows of 256 x 256 pixels and what belongs to them.

    Attributes:
        clip: on disk; its first T frames count.
        truth: RGB uint8 [T, 256, 256, 3].
        portrait: the portrait's window, RGB uint8 [256, 256, 3].
        audio: mono float32 [T * 640].
        head, background: weights [256, 256]: where skin may move, and where nothing may.
        mouth_xy: [T, 2]; eyes_xy: [T, 2, 2]; window pixels.
        lips: frames in the middle of p, b and m.
        silent: frames in which the true mouth is neutral, bool [T].
    """

    clip: Clip
    truth: NDArray[np.uint8]
    portrait: NDArray[np.uint8]
    audio: NDArray[np.float32]
    head: NDArray[np.float32]
    background: NDArray[np.float32]
    mouth_xy: NDArray[np.float64]
    eyes_xy: NDArray[np.float64]
    lips: NDArray[np.intp]
    silent: NDArray[np.bool_]

    @property
    def frames(self) -> int:
        """T, the number of frames."""
        return len(self.truth)

    @property
    def boxes(self) -> NDArray[np.intp]:
        """Mouth box of each frame, as ``mouth_boxes`` has it."""
        return mouth_boxes(self.mouth_xy)


@dataclass(frozen=True)
class GeneratedVideo:
    """What a generator made of a clip.

    Attributes:
        windows: face windows of its frames, RGB uint8 [T, 256, 256, 3].
        whole: every 25th frame, RGB uint8 [N, H, W, 3].
        to_window: from pixels of the frames to those of the windows.
    """

    windows: NDArray[np.uint8]
    whole: NDArray[np.uint8]
    to_window: Similarity


def mouth_boxes(mouth_xy: NDArray[np.floating]) -> NDArray[np.intp]:
    """Boxes around mouths [T, 2] in face windows, within them: left, top, right, bottom, [T, 4]."""
    low = np.round(mouth_xy - _MOUTH_HALF).astype(np.intp)
    high = low + 2 * np.array(_MOUTH_HALF)
    return np.concatenate([low, high], 1).clip(0, SIDE)


class RecordedLife:
    """A clip's true blinks, gaze and brows in place of procedural ones; the head rests."""

    def __init__(self, clip: Clip) -> None:
        self._track = np.array(clip.motion, np.float32)
        self._track[:, : MOTION.index("blink")] = 0.0
        self._at = 0

    def frames(self, sound: NDArray[np.float32]) -> LifeTrack:
        """The next frames, as many as of ``Life``; rest after the last one."""
        n = sound.size // FRAME_SAMPLES - LOOKAHEAD_FRAMES
        rows = np.zeros((n, len(MOTION)), np.float32)
        left = self._track[self._at : self._at + n]
        rows[: len(left)] = left
        self._at += n
        return LifeTrack(rows, np.zeros((n, len(BODY)), np.float32))


def make_eval_clip(clip: Clip, seconds: float) -> EvalClip:
    """The first ``seconds`` of a clip."""
    frames = min(clip.frames, max(1, round(seconds * FPS)))
    cover = cv2.resize(clip.cover, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    return EvalClip(
        clip,
        np.stack([clip.video[k] for k in range(frames)]),
        clip.photo,
        np.ascontiguousarray(clip.audio[: frames * FRAME_SAMPLES]),
        (cover > 127).astype(np.float32),
        (cover == 0).astype(np.float32),
        clip.mouth_xy[:frames].astype(np.float64),
        clip.eyes_xy[:frames].reshape(-1, 2, 2).astype(np.float64),
        lip_frames(clip, frames),
        np.asarray(clip.mouth[:frames]).max(1) < NEUTRAL,
    )


def generate(
    generator: AnyGenerator, identity: Any, eval_clip: EvalClip, label: str
) -> GeneratedVideo:
    """Frames of a generator for a clip, chunk by chunk as in a session.

    ``mini`` is told the true blinks, gaze and brows and keeps its head still, so that windows can
    be compared; other models move as they do.

    Args:
        label: of the progress bar.
    """
    stream = generator.open(identity, seed=int(eval_clip.clip.meta.get("identity_seed", 0)))
    if isinstance(stream, MiniStream):
        rest_head(stream, eval_clip.clip)
    chunks = generate_all(generator, stream, eval_clip.audio)
    total = -(-frame_count(generator, eval_clip.audio.size) // generator.chunk_frames)
    return gather(progress(chunks, label, total), identity, eval_clip.frames)


def rest_head(stream: MiniStream, clip: Clip) -> None:
    """Make a stream of ``mini`` repeat a clip's expressions, its head and body at rest."""
    stream.life = RecordedLife(clip)  # type: ignore[assignment]


def gather(chunks: Iterable[NDArray[np.uint8]], identity: Any, frames: int) -> GeneratedVideo:
    """Cut the face window out of every frame of all chunks; the excess is dropped."""
    windows = np.zeros((frames, SIDE, SIDE, 3), np.uint8)
    whole: list[NDArray[np.uint8]] = []
    to_window = Similarity(np.eye(2, 3))
    for k, frame in enumerate(one for chunk in chunks for one in chunk):
        if k == frames:
            break
        to_window = to_window if k else window_of(identity, frame)
        windows[k] = cut(frame, to_window, SIDE, "edge")
        if k % WHOLE_EVERY == 0:
            whole.append(frame.copy())
    return GeneratedVideo(windows, np.stack(whole), to_window)


def window_of(identity: Any, frame: NDArray[np.uint8]) -> Similarity:
    """From a frame's pixels to its face window.

    A model that knows none shows a face where one is found, else its whole frame.
    """
    portrait = getattr(identity, "portrait", None)
    known = getattr(portrait, "to_window", None)
    if isinstance(known, Similarity):
        return known
    try:
        return face_window(find_face(frame))
    except PortraitError:
        return Similarity(SIDE / frame.shape[0] * np.eye(2, 3))


def lip_frames(clip: Clip, frames: int) -> NDArray[np.intp]:
    """Frame numbers at the middle of p, b and m by the times in ``speech.json``; else empty."""
    try:
        record = json.loads((clip.path / "speech.json").read_text(encoding="utf-8"))
        spoken = [(str(s), float(a), float(b)) for s, a, b in record["phonemes"]]
    except (OSError, ValueError, KeyError, TypeError):
        return np.zeros(0, np.intp)
    middles = [
        (begin + end) / 2 - PHONEME_DELAY for symbol, begin, end in spoken if symbol in BILABIALS
    ]
    numbers = np.floor(np.array(middles) * FPS).astype(np.intp)
    return np.unique(numbers[(numbers >= 0) & (numbers < frames)])
