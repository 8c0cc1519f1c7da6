"""Writes the bundled speech clips: our own text, spoken by training voices."""

from __future__ import annotations

import json
import runpy
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.io import console
from models.synth.assets import Assets
from models.synth.text_to_speech import MODEL_SAMPLE_RATE, TextToSpeech

_LEAD_SECONDS = 0.15


@dataclass(frozen=True)
class RecordingSpec:
    """A bundled recording: its text and voice."""

    id: str
    name: str
    text: str
    voice: str


CLIPS = (
    RecordingSpec(
        "hello",
        "Hello",
        "Hello, and welcome! I am a picture that learned to speak. "
        "Send me a voice, and I will move my lips to every word of it.",
        "af_heart",
    ),
    RecordingSpec(
        "story",
        "Story",
        "Far above the village, behind a broken bridge, lived a man who mended clocks. "
        "One morning, all of them began to whisper.",
        "bm_george",
    ),
)


def write_clips(assets: Assets, folder: Path) -> None:
    """Write ``ID.wav``, mono 16 bit 24 kHz, and ``clips.json``, a list of {id, name, text}."""
    speech_model = TextToSpeech(assets)
    folder.mkdir(parents=True, exist_ok=True)
    for clip in console.progress(CLIPS, "speech clips"):
        utterance = speech_model.synthesize(clip.text, clip.voice)
        _write_wave(folder / f"{clip.id}.wav", utterance.audio)
    entries = [{"id": clip.id, "name": clip.name, "text": clip.text} for clip in CLIPS]
    _write_entries(folder / "clips.json", entries)


def _write_wave(path: Path, audio: NDArray[np.float32]) -> None:
    normalised = audio * (0.7 / max(float(np.abs(audio).max()), 1e-3))
    audible = np.flatnonzero(np.abs(normalised) > 0.01)
    margin = round(_LEAD_SECONDS * MODEL_SAMPLE_RATE)
    cut = normalised[max(0, int(audible[0]) - margin) : int(audible[-1]) + margin]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(MODEL_SAMPLE_RATE)
        file.writeframes(np.round(np.clip(cut, -1, 1) * 32767).astype("<i2").tobytes())


def _write_entries(path: Path, entries: list[dict[str, str]]) -> None:
    path.write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":  # the command line is in models/commands
    runpy.run_module("models.commands.bundle", run_name="__main__")
