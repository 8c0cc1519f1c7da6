"""Writes what a recording says, and when, beside its sound."""

from __future__ import annotations

import json
from pathlib import Path

from models.synth.text_to_speech import SpokenText


def write_speech(path: Path, spoken: SpokenText, *, voice: str, speed: float) -> None:
    """Write voice, sentences and phonemes with their times in seconds."""
    record = {
        "voice": voice,
        "speed": speed,
        "sentences": [
            {"text": text, "start": round(a, 3), "end": round(b, 3)}
            for text, a, b in spoken.sentences
        ],
        "phonemes": [[p.symbol, round(p.start, 4), round(p.end, 4)] for p in spoken.phonemes],
    }
    path.write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
