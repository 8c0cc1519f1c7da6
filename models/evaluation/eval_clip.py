"""Prepares what is compared: the true frames of a clip and a generator's frames of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.dataset.clips import BILABIALS, FPS, FRAME_SAMPLES, PHONEME_DELAY, Clip
from models.face.crop import crop_portrait
from models.face.geometry import Similarity, cut
from models.face.portrait import find_face
from models.generator import AnyGenerator, frame_count, generate_all
from models.io.console import progress

_DILATION = 9
"""Pixels around the head that count neither as head nor as background."""
_NEUTRAL = 0.01
"""No blendshape of a neutral mouth is above this."""
_MOUTH_HALF = (32, 24)
"""Half width and height of the box around the mouth in which distances are measured, pixels."""


@dataclass(frozen=True)
class EvalClip:
    """One clip at the size and framing of a generator: T frames of H x W.

    Attributes:
        clip: on disk; its first T frames count.
        truth: RGB uint8 [T, H, W, 3].
        portrait: RGB uint8 [H, W, 3].
        audio: mono float32 [T * 640].
        head, background: weights [H, W], 1 inside; pixels near the border are in neither.
        mouth_xy: [T, 2]; eyes_xy: [T, 2, 2]; pixels.
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
        """Mouth box of each frame, clipped to it: left, top, right, bottom, pixels, [T, 4]."""
        height, width = self.portrait.shape[:2]
        low = np.round(self.mouth_xy - _MOUTH_HALF).astype(np.intp)
        high = low + 2 * np.array(_MOUTH_HALF)
        edges = np.concatenate([low, high], 1)
        return edges.clip(0, np.array([width, height, width, height]))


def make_eval_clip(clip: Clip, generator: AnyGenerator, identity: Any, seconds: float) -> EvalClip:
    """The first ``seconds`` of a clip, framed like the portrait of ``identity``."""
    frames = min(clip.frames, max(1, round(seconds * FPS)))
    to_frame = _framing(clip, generator, identity)
    height, width = generator.size
    truth = np.empty((frames, height, width, 3), np.uint8)
    for k in range(frames):
        truth[k] = _frame(np.asarray(clip.video[k]), to_frame, (height, width))
    cover = _frame(np.asarray(clip.mask[:frames]).max(0), to_frame, (height, width), clip)
    near = cv2.dilate(cover, np.ones((2 * _DILATION + 1,) * 2, np.uint8))
    mouth = to_frame.apply(clip.mouth_xy[:frames])
    eyes = to_frame.apply(clip.eyes_xy[:frames].reshape(-1, 2, 2))
    return EvalClip(
        clip,
        truth,
        _frame(clip.neutral, to_frame, (height, width)),
        np.ascontiguousarray(clip.audio[: frames * FRAME_SAMPLES]),
        (cover > 127).astype(np.float32),
        (near < 64).astype(np.float32),
        mouth,
        eyes,
        lip_frames(clip, frames),
        np.asarray(clip.mouth[:frames]).max(1) < _NEUTRAL,
    )


def _framing(clip: Clip, generator: AnyGenerator, identity: Any) -> Similarity:
    """Maps the clip's pixels to those of the generator's frames."""
    scale = generator.size[0] / clip.neutral.shape[0]
    scaled = Similarity(scale * np.eye(2, 3))
    portrait = getattr(identity, "portrait", None)
    if portrait is None or np.array_equal(portrait.crop, clip.neutral):
        return scaled
    return crop_portrait(clip.neutral, find_face(clip.neutral)).to_crop


def _frame(
    picture: NDArray[np.uint8],
    to_frame: Similarity,
    size: tuple[int, int],
    clip: Clip | None = None,
) -> NDArray[np.uint8]:
    if clip is not None:  # a mask is smaller than its frame
        side = clip.neutral.shape[0]
        picture = np.asarray(cv2.resize(picture, (side, side)), np.uint8)
    if picture.shape[:2] == size and np.array_equal(to_frame.matrix, np.eye(2, 3)):
        return picture
    return cut(picture, to_frame, size[0], "edge")


def generate(
    generator: AnyGenerator, identity: Any, eval_clip: EvalClip, label: str
) -> NDArray[np.uint8]:
    """Frames of a generator for a clip, chunk by chunk as in a session, RGB uint8 [T, H, W, 3].

    The clip's identity seeds the stream, so that procedural head motion equals the true one.

    Args:
        label: of the progress bar.
    """
    stream = generator.open(identity, seed=int(eval_clip.clip.meta.get("identity_seed", 0)))
    chunks = generate_all(generator, stream, eval_clip.audio)
    total = -(-frame_count(generator, eval_clip.audio.size) // generator.chunk_frames)
    return gather(progress(chunks, label, total), eval_clip.truth.shape)


def gather(chunks: Iterable[NDArray[np.uint8]], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Concatenate chunks of frames into an array of the given shape; the excess is cut off."""
    frames, filled = np.zeros(shape, np.uint8), 0
    for chunk in chunks:
        piece = chunk[: len(frames) - filled]
        frames[filled : filled + len(piece)] = piece
        filled += len(piece)
    return frames


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
