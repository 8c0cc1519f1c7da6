"""A small speech pool: noise with syllables, and phonemes that fit its length."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from models.dataset.clip_files import write_audio
from models.mini.motion import MOUTH_UNITS
from models.synth.articulation import Phoneme
from tests.support.puppet import babble

PHONEMES = [Phoneme(symbol, 0.16 * k, 0.16 * (k + 1)) for k, symbol in enumerate("mabɪpodæmabɪpod")]


def write_pool(pool: Path, *numbers: int, frames: int = 60) -> Path:
    """Write recordings of these numbers; the folder."""
    for number in numbers:
        folder = pool / f"{number:03d}"
        folder.mkdir(parents=True)
        write_audio(folder / "audio.wav", babble(frames, number))
        rows = [[p.symbol, p.start, p.end] for p in PHONEMES]
        (folder / "speech.json").write_text(json.dumps({"phonemes": rows}))
        np.save(folder / "mouth.npy", np.zeros((frames, len(MOUTH_UNITS)), np.float32))
    return pool
