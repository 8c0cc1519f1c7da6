"""Speech of a pool as the mouth reader learns it: recordings with their truth, heard many ways.

Version 0 is as recorded. The others begin at another sample, odd ones go through another
microphone, and from 2 on the voice is higher and faster, or lower and slower; the true mouth is
computed anew from the phonemes, so that it stays exact. From 2 on some chunks are heard as if they
were just being spoken: the last frame of their look-ahead has not arrived.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.audio import SAMPLE_RATE
from models.audio.level import level_audio
from models.dataset.clips import BILABIALS, FPS, FRAME_SAMPLES, PHONEME_DELAY, Split, read_audio
from models.dataset.recordings import list_recordings
from models.io.console import progress
from models.mini.audio import CHUNK_FRAMES, CONTEXT, AudioEncoder, chunk_features, windows_of
from models.synth.articulation import Phoneme, blendshape_track, loudness, merge_marks
from models.training.run import load_or_compute
from models.training.speech_features import simulate_channel

VERSIONS: dict[Split, int] = {"train": 4, "held_out": 2}
SPEED = (0.9, 1.12)
"""Lowest and highest factor of a voice's speed and pitch."""
LIVE_SHARE = 0.4
"""Of the chunks of versions from 2 on."""
_BEGIN = CHUNK_FRAMES * FRAME_SAMPLES
"""A version begins before this sample of its recording."""


@dataclass(frozen=True)
class HeardSpeech:
    """One version of a recording, N chunks of F frames.

    Attributes:
        features: not normalised, float16 [N, F + W - 1, D]: at each frame of the chunk, and at
            ``CONTEXT`` frames before and after them.
        mouth: true blendshapes, float32 [N, F, U].
        lips: frames in the middle of p, b and m, int64 [L], in order.
    """

    features: Tensor
    mouth: Tensor
    lips: Tensor


def frame_windows(features: Tensor) -> Tensor:
    """The windows of a chunk's frames, [..., F + W - 1, D] -> [..., F, W, D]."""
    return features.unfold(-2, 2 * CONTEXT + 1, 1).transpose(-1, -2)


def encode_pool(pool: Path, split: Split, cache: Path) -> list[HeardSpeech]:
    """All versions of a pool's recordings, encoded or loaded from ``cache``.

    Raises:
        LiveheadError: there are none.
    """
    encoder = AudioEncoder()
    heard = []
    for folder in progress(list_recordings(pool, split), f"listening ({split})"):
        heard += _encode_recording(encoder, folder, VERSIONS[split], cache)
    return heard


def _encode_recording(
    encoder: AudioEncoder, folder: Path, versions: int, cache: Path
) -> list[HeardSpeech]:
    digest = sha256(f"{versions} {LIVE_SHARE}".encode())
    for name in ("audio.wav", "speech.json"):
        digest.update((folder / name).read_bytes())
    stored = load_or_compute(
        cache / f"{folder.name}.pt",
        digest.hexdigest(),
        lambda: {f"{v}": vars(_hear(encoder, folder, v)) for v in range(versions)},
    )
    return [HeardSpeech(**stored[f"{v}"]) for v in range(versions)]


def _hear(encoder: AudioEncoder, folder: Path, version: int) -> HeardSpeech:
    record = json.loads((folder / "speech.json").read_text(encoding="utf-8"))
    rng = np.random.default_rng([int(folder.name), version, 9])
    speed = float(rng.uniform(*SPEED)) if version > 1 else 1.0
    begin = int(rng.integers(_BEGIN)) if version else 0
    audio, mouth, phonemes = cut_speech(
        read_audio(folder / "audio.wav"), [Phoneme(*p) for p in record["phonemes"]], speed, begin
    )
    if version % 2:
        audio = simulate_channel(audio, rng)[: audio.size]
    chunks = len(mouth) // CHUNK_FRAMES - 2  # the last word is cut off
    windows = list(islice(windows_of(level_audio(audio), levelled=True), chunks))
    if version > 1:
        windows = [_as_spoken(w) if rng.random() < LIVE_SHARE else w for w in windows]
    features = np.stack([_compact(chunk_features(encoder, w)) for w in windows])
    return HeardSpeech(
        torch.from_numpy(features).half(),
        torch.from_numpy(mouth[: chunks * CHUNK_FRAMES].reshape(chunks, CHUNK_FRAMES, -1)),
        torch.from_numpy(lip_frames(phonemes, chunks * CHUNK_FRAMES)),
    )


def _as_spoken(window: NDArray[np.float32]) -> NDArray[np.float32]:
    """A window whose last frame has not arrived."""
    return np.concatenate([window[:-FRAME_SAMPLES], np.zeros(FRAME_SAMPLES, np.float32)])


def _compact(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Windows of consecutive frames [F, W, D] overlap: [F + W - 1, D], ``frame_windows`` undoes."""
    return np.concatenate([windows[0], windows[1:, -1]])


def cut_speech(
    audio: NDArray[np.float32], phonemes: Sequence[Phoneme], speed: float, begin: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], list[Phoneme]]:
    """Speech at another speed and pitch, from another sample on.

    Args:
        audio: mono float32 at 16 kHz; phonemes: their times, late by ``PHONEME_DELAY``.
        speed: 1.1 is faster and higher by a tenth.
        begin: samples that are left out at the beginning, after the change of speed.

    Returns:
        Whole frames of sound [640 T], the true mouth [T, 13], and the phonemes, none late.
    """
    if speed != 1.0:
        audio = np.asarray(soxr.resample(audio, SAMPLE_RATE * speed, SAMPLE_RATE), np.float32)
    frames = (audio.size - begin) // FRAME_SAMPLES
    audio = audio[begin : begin + frames * FRAME_SAMPLES]
    first = begin / SAMPLE_RATE
    moved = [
        Phoneme(p.symbol, *((t - PHONEME_DELAY) / speed - first for t in (p.start, p.end)))
        for p in phonemes
    ]
    energy = loudness(audio, frames, FPS)
    return audio, blendshape_track(moved, frames, FPS, energy, delay=0.0), moved


def lip_frames(phonemes: Sequence[Phoneme], frames: int) -> NDArray[np.int64]:
    """Frames in the middle of p, b and m among the first ``frames``, in order."""
    middles = [
        math.floor((p.start + p.end) / 2 * FPS)
        for p in merge_marks(phonemes)
        if p.symbol in BILABIALS
    ]
    return np.unique([k for k in middles if 0 <= k < frames]).astype(np.int64)
