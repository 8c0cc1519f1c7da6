"""Tests the detector on a real clip, on silence, on noise and on tones of known stress."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.audio.level import level_audio
from models.io.audio import read_speech
from models.mini.audio import FRAME_SAMPLES, LOOKAHEAD_FRAMES
from models.mini.life.accents import AccentDetector, SpeechCue
from models.weights.bundled import WEIGHTS

pytestmark = pytest.mark.unit

FPS = 25


def cues_of(sound: NDArray[np.float32]) -> list[SpeechCue]:
    """The cues of a sound, its last frame filled up."""
    end = -sound.size % FRAME_SAMPLES + LOOKAHEAD_FRAMES * FRAME_SAMPLES
    return AccentDetector().cues(np.pad(sound, (0, end)))


def syllables(levels_db: list[float], hertz: list[float] | None = None) -> NDArray[np.float32]:
    """A second of silence, then vowel-like tones of 0.16 s, one each 0.24 s."""
    parts = [np.zeros(FPS * FRAME_SAMPLES, np.float32)]
    time = np.arange(round(0.16 * 16_000)) / 16_000
    shape = np.sin(np.pi * time / 0.16)
    for level, pitch in zip(levels_db, hertz or [120.0] * len(levels_db), strict=True):
        tone = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 9))
        parts.append((10 ** (level / 20) * shape * tone).astype(np.float32))
        parts.append(np.zeros(round(0.08 * 16_000), np.float32))
    return np.concatenate(parts)


@pytest.mark.parametrize("clip", ["hello", "story"])
def test_accents_of_speech_are_peaks_of_its_energy(clip: str) -> None:
    sound = level_audio(read_speech(WEIGHTS / "clips" / f"{clip}.wav", 16_000))
    sound = sound[: sound.size // FRAME_SAMPLES * FRAME_SAMPLES]
    cues = cues_of(sound)
    talking = sum(cue.talking for cue in cues) / FPS
    at = np.flatnonzero([cue.accent for cue in cues])
    assert 0.7 < len(at) / talking < 2.8
    assert np.diff(at).min() > 0.3 * FPS
    energy = np.sqrt(np.square(sound.reshape(-1, FRAME_SAMPLES)).mean(1))
    spoken = energy[[cue.talking for cue in cues]]
    peaks = [energy[k : k + 3].max() for k in at]
    assert np.mean(peaks) > 1.5 * spoken.mean()
    assert np.min(peaks) > np.median(spoken)


def test_phrases_begin_and_end() -> None:
    sound = level_audio(read_speech(WEIGHTS / "clips" / "story.wav", 16_000))
    cues = cues_of(np.pad(sound, (0, 16_000)))
    begins = [k for k, cue in enumerate(cues) if cue.begins]
    ends = [k for k, cue in enumerate(cues) if cue.ends]
    assert 2 <= len(ends) <= len(begins) <= 8
    assert all(cues[k].talking for k in begins) and not any(cues[k].talking for k in ends)
    assert ends[-1] < sound.size / FRAME_SAMPLES + 10


def test_silence_and_noise_have_none() -> None:
    hiss = 1e-3 * np.random.default_rng(0).standard_normal(160_000).astype(np.float32)
    for sound in (np.zeros(160_000, np.float32), hiss):
        assert all(cue == SpeechCue() for cue in cues_of(sound))


def test_the_loud_syllable_is_the_stressed_one() -> None:
    levels = [-24.0] * 16
    levels[12] = -15.0
    late = [k for k, cue in enumerate(cues_of(syllables(levels))) if cue.accent and k > 60]
    loud = FPS * (1 + 12 * 0.24 + 0.08)
    assert len(late) == 1 and abs(late[0] - loud) <= 2


def test_a_high_syllable_is_stressed_too() -> None:
    pitches = [120.0] * 16
    pitches[12] = 170.0
    levels = [-24.0] * 16
    levels[12] = -21.0
    flat, high = (
        [cue.accent for cue in cues_of(syllables(levels, hertz))][60:] for hertz in (None, pitches)
    )
    assert max(high) > max(flat)


def test_an_unknown_future_costs_no_accent() -> None:
    levels = [-24.0] * 16
    levels[12] = -15.0
    sound = syllables(levels)
    sound = sound[: sound.size // FRAME_SAMPLES * FRAME_SAMPLES]
    detector, at = AccentDetector(), []
    for k, frame in enumerate(sound.reshape(-1, FRAME_SAMPLES)):
        blind = np.pad(frame, (0, LOOKAHEAD_FRAMES * FRAME_SAMPLES))
        if detector.cues(blind)[0].accent:
            at.append(k)
    assert any(abs(k - FPS * (1 + 12 * 0.24 + 0.08)) <= 3 for k in at)
