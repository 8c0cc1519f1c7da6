"""A pool of spoken recordings with their true mouth tracks, shared by many portraits."""

from __future__ import annotations

import json
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.audio import SAMPLE_RATE
from models.dataset.clips import FPS, Split
from models.synth.articulation import blendshape_track
from models.synth.sentences import HELD_OUT, TRAINING
from models.synth.text_to_speech import (
    VOICES_FEMALE,
    VOICES_HELD_OUT,
    VOICES_MALE,
    SpokenText,
    TextToSpeech,
)

SECONDS = 12.8
VOICES = tuple(
    voice
    for k in range(max(len(VOICES_FEMALE), len(VOICES_MALE)))
    for voice in (VOICES_FEMALE[k : k + 1] + VOICES_MALE[k : k + 1])
)


@dataclass(frozen=True)
class Recording:
    """One recording of the pool; ``number`` names its folder."""

    number: int
    split: Split
    voice: str
    speed: float


def plan_recordings(count: int, split: Split) -> list[Recording]:
    """``count`` recordings; voices take turns, and held-out ones are used nowhere else."""
    voices = VOICES if split == "train" else VOICES_HELD_OUT
    first = 0 if split == "train" else 900
    recordings = []
    for k in range(count):
        speed = float(np.random.default_rng([first + k, 5]).uniform(0.9, 1.12))
        recordings.append(Recording(first + k, split, voices[k % len(voices)], round(speed, 3)))
    return recordings


def recording_folder(pool: Path, recording: Recording) -> Path:
    """Folder of a recording inside ``pool``."""
    return pool / f"{recording.number:03d}"


def is_recorded(folder: Path) -> bool:
    """Whether ``mouth.npy``, the file written last, is there."""
    return (folder / "mouth.npy").is_file()


def write_recording(text_to_speech: TextToSpeech, recording: Recording, pool: Path) -> None:
    """Speak a recording: ``audio.wav``, ``speech.json`` and ``mouth.npy`` [N, 13]."""
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
    write_speech(folder / "speech.json", recording, spoken)
    scratch = folder / "mouth.part.npy"
    np.save(scratch, mouth.astype(np.float32))
    scratch.rename(folder / "mouth.npy")


def write_audio(path: Path, audio: NDArray[np.float32]) -> None:
    """Write mono 16-bit sound at 16 kHz."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(np.round(np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes())


def write_speech(path: Path, recording: Recording, spoken: SpokenText) -> None:
    """Write voice, sentences and phonemes with their times in seconds."""
    record = {
        "voice": recording.voice,
        "speed": recording.speed,
        "sentences": [
            {"text": text, "start": round(a, 3), "end": round(b, 3)}
            for text, a, b in spoken.sentences
        ],
        "phonemes": [[p.symbol, round(p.start, 4), round(p.end, 4)] for p in spoken.phonemes],
    }
    path.write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
