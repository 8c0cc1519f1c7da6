"""A pool of spoken recordings with their true mouth tracks, shared by many portraits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.dataset.clip_files import write_audio
from models.dataset.clips import FPS, Split
from models.dataset.recordings import FIRST_HELD_OUT
from models.errors import LiveheadError
from models.synth.articulation import blendshape_track
from models.synth.sentences import HELD_OUT, TRAINING
from models.synth.speech_file import write_speech
from models.synth.text_to_speech import (
    VOICES_FEMALE,
    VOICES_HELD_OUT,
    VOICES_MALE,
    TextToSpeech,
)

SECONDS = 12.8
"""Length of a recording."""
VOICES = tuple(
    voice
    for k in range(max(len(VOICES_FEMALE), len(VOICES_MALE)))
    for voice in (VOICES_FEMALE[k : k + 1] + VOICES_MALE[k : k + 1])
)
"""Voices of training, women's and men's in turn."""


@dataclass(frozen=True)
class Recording:
    """One recording of the pool; ``number`` names its folder."""

    number: int
    split: Split
    voice: str
    speed: float


def plan_recordings(count: int, split: Split) -> list[Recording]:
    """``count`` recordings; voices take turns, and held-out voices are used nowhere else.

    Raises:
        LiveheadError: their numbers would reach those of the held-out ones.
    """
    if split == "train" and count > FIRST_HELD_OUT:
        raise LiveheadError(
            f"expected at most {FIRST_HELD_OUT} recordings, got {count}; pass fewer",
            code="bad_option",
        )
    voices = VOICES if split == "train" else VOICES_HELD_OUT
    first = 0 if split == "train" else FIRST_HELD_OUT
    recordings = []
    for k in range(count):
        speed = float(np.random.default_rng([first + k, 5]).uniform(0.9, 1.12))
        recordings.append(Recording(first + k, split, voices[k % len(voices)], round(speed, 3)))
    return recordings


def recording_folder(pool: Path, recording: Recording) -> Path:
    """Folder of a recording inside ``pool``."""
    return pool / f"{recording.number:03d}"


def write_recording(text_to_speech: TextToSpeech, recording: Recording, pool: Path) -> None:
    """Speak a recording.

    Its folder holds ``audio.wav``, ``speech.json`` and ``mouth.npy``, float32 [N, 13] with columns
    ``MOUTH_UNITS``.
    """
    folder = recording_folder(pool, recording)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([recording.number, 177])
    texts = TRAINING if recording.split == "train" else HELD_OUT
    order = rng.permutation(len(texts)).tolist()
    spoken = text_to_speech.synthesize_all(
        [texts[k] for k in order], recording.voice, recording.speed, SECONDS, rng, FPS
    )
    mouth = blendshape_track(spoken.phonemes, round(SECONDS * FPS), FPS, spoken.energy)
    write_audio(folder / "audio.wav", spoken.audio)
    write_speech(folder / "speech.json", spoken, voice=recording.voice, speed=recording.speed)
    scratch = folder / "mouth.part.npy"
    np.save(scratch, mouth.astype(np.float32))
    scratch.rename(folder / "mouth.npy")
