"""Turns timed phonemes into mouth blendshapes: poses blended over time, lips that close."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from models.audio import SAMPLE_RATE
from models.dataset.clips import BILABIALS, PHONEME_DELAY
from models.mini.motion import MOUTH_UNITS

_ABBREVIATIONS = {
    "j": "jawOpen",
    "fun": "mouthFunnel",
    "puc": "mouthPucker",
    "st": "mouthStretch",
    "up": "mouthUpperUp",
    "lo": "mouthLowerDown",
    "cl": "mouthClose",
    "pr": "mouthPress",
    "rl": "mouthRollLower",
    "ru": "mouthRollUpper",
    "sm": "mouthSmile",
    "sh": "mouthShrugUpper",
    "to": "tongueOut",
}

LABIODENTALS = "fv"
"""Phonemes with the lower lip at the upper teeth."""

_POSES: tuple[tuple[str, dict[str, float]], ...] = (
    (BILABIALS, {"pr": 0.5, "rl": 0.3, "ru": 0.25}),
    (LABIODENTALS, {"j": 0.06, "rl": 0.7, "up": 0.35}),
    ("θð", {"j": 0.16, "up": 0.15, "lo": 0.3, "to": 0.2}),
    ("tdnszlɾ", {"j": 0.14, "st": 0.2, "lo": 0.3, "up": 0.12}),
    ("ʃʒʧʤ", {"j": 0.13, "fun": 0.55, "puc": 0.1, "up": 0.25, "lo": 0.25}),
    ("kɡŋhxɣʔ", {"j": 0.22, "lo": 0.15, "up": 0.1}),
    ("ɹ", {"j": 0.15, "fun": 0.35, "puc": 0.25}),
    ("w", {"j": 0.1, "puc": 0.8}),
    ("j", {"j": 0.1, "st": 0.3, "sm": 0.2}),
    ("iɪ", {"j": 0.17, "st": 0.38, "sm": 0.28, "lo": 0.25, "up": 0.15}),
    ("eɛ", {"j": 0.34, "st": 0.25, "sm": 0.15, "lo": 0.3, "up": 0.2}),
    ("æ", {"j": 0.52, "st": 0.2, "lo": 0.35, "up": 0.25}),
    ("aɑ", {"j": 0.6, "lo": 0.3, "up": 0.15}),
    ("ʌəɜɐᵊ", {"j": 0.32, "lo": 0.2, "up": 0.1}),
    ("ɔɒ", {"j": 0.46, "fun": 0.45}),
    ("o", {"j": 0.34, "fun": 0.35, "puc": 0.4}),
    ("uʊ", {"j": 0.17, "fun": 0.25, "puc": 0.65}),
)
_DIPHTHONGS = {"A": "eɪ", "I": "aɪ", "W": "aʊ", "Y": "ɔɪ", "O": "oʊ", "Q": "əʊ"}
_STRESS_MARKS = "ˈˌ"
_LENGTH_MARK = "ː"
_SPREAD = 0.034
_LIP_SPREAD = 0.015
_LIP_STRENGTH = 4.0
_REST_STRENGTH = 0.03
_SPACE_STRENGTH = 0.25
_SILENCE = 0.02
_LOUDNESS_GAIN = (0.72, 0.42)
"""Opening of jaw and lips: share in silence, share added at full energy."""


@dataclass(frozen=True)
class Phoneme:
    """One IPA symbol and when it sounds, seconds."""

    symbol: str
    start: float
    end: float


def blendshape_track(
    phonemes: Sequence[Phoneme],
    frames: int,
    fps: float = 25.0,
    energy: NDArray[np.float32] | None = None,
    delay: float = PHONEME_DELAY,
) -> NDArray[np.float32]:
    """Blend the poses of the phonemes around each frame's middle.

    Args:
        phonemes: in order of time; symbols without a pose (spaces, punctuation) are silence.
        frames: T, length of the track.
        fps: frames per second.
        energy: loudness of each frame, about 0..1, float32 [T]; scales the opening of the jaw
            and closes it in silence.
        delay: seconds by which the phonemes' times are late.

    Returns:
        float32 [T, 13] in 0..1, columns ``MOUTH_UNITS``; exactly zero away from speech.

    Raises:
        ValueError: energy has another length.
    """
    if energy is not None and energy.shape != (frames,):
        raise ValueError(f"energy: expected [{frames}], got {list(energy.shape)}")
    track, lips = _blend(merge_marks(phonemes), frames, fps, delay)
    if energy is not None:
        opening = _LOUDNESS_GAIN[0] + _LOUDNESS_GAIN[1] * np.clip(energy, 0.0, 1.1)
        for name in ("jawOpen", "mouthLowerDown"):
            track[:, MOUTH_UNITS.index(name)] *= opening
        track *= _voice_gate(energy)[:, None]
    track = _close_lips(track, lips)
    track[np.abs(track).max(1) < 0.012] = 0.0
    return np.clip(track, 0.0, 1.0).astype(np.float32)


def loudness(audio: NDArray[np.float32], frames: int, fps: float) -> NDArray[np.float32]:
    """Smoothed loudness of each frame, float32 [frames], about 1 at its loudest."""
    step = SAMPLE_RATE / fps
    edges = (np.arange(frames + 1) * step).astype(int)
    total = np.concatenate([[0.0], np.cumsum(np.abs(audio, dtype=np.float64))])
    mean = (total[edges[1:]] - total[edges[:-1]]) / np.maximum(np.diff(edges), 1)
    smooth = gaussian_filter1d(mean, 1.2)
    top = max(float(np.quantile(smooth, 0.98)), 1e-6)
    out: NDArray[np.float32] = np.clip(smooth / top, 0.0, 1.2).astype(np.float32)
    return out


def _blend(
    phonemes: Sequence[Phoneme], frames: int, fps: float, delay: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Poses weighted by dominance [T, 13], and lip closure of each frame, 0..1, [T]."""
    times = (np.arange(frames, dtype=np.float64) + 0.5) / fps
    weighted_poses = np.zeros((frames, len(MOUTH_UNITS)))
    weight = np.full(frames, _REST_STRENGTH)
    lips = np.zeros(frames)
    for phoneme in phonemes:
        pose = _POSE_OF.get(phoneme.symbol)
        dominance = _dominance(times, phoneme, delay)
        weight += dominance
        if pose is not None:
            weighted_poses += dominance[:, None] * pose
        if phoneme.symbol in BILABIALS:
            lips = np.maximum(lips, dominance / _LIP_STRENGTH)
    return weighted_poses / weight[:, None], lips


def _voice_gate(energy: NDArray[np.float32]) -> NDArray[np.float64]:
    """1 near sound, 0 in pauses, [T]."""
    sounding = maximum_filter1d((energy > _SILENCE).astype(np.float64), 7)
    gate: NDArray[np.float64] = np.clip(1.1 * gaussian_filter1d(sounding, 0.8) - 0.05, 0.0, 1.0)
    return gate


def _close_lips(track: NDArray[np.float64], lips: NDArray[np.float64]) -> NDArray[np.float64]:
    """Reduce the blendshapes that part the lips by lip closure (0..1)."""
    closing = np.clip(1.4 * lips, 0.0, 1.0)
    out = track.copy()
    for name in ("jawOpen", "mouthLowerDown", "mouthUpperUp", "mouthFunnel", "tongueOut"):
        out[:, MOUTH_UNITS.index(name)] *= 1.0 - closing
    press = MOUTH_UNITS.index("mouthPress")
    out[:, press] = np.maximum(out[:, press], 0.5 * closing)
    return out


def merge_marks(phonemes: Sequence[Phoneme]) -> list[Phoneme]:
    """Give the time of stress marks to the next phoneme, of length marks to the last; split
    diphthongs."""
    out: list[Phoneme] = []
    pending_start: float | None = None
    for phoneme in phonemes:
        if phoneme.symbol in _STRESS_MARKS:
            pending_start = phoneme.start if pending_start is None else pending_start
            continue
        if phoneme.symbol == _LENGTH_MARK:
            if out:
                out[-1] = Phoneme(out[-1].symbol, out[-1].start, phoneme.end)
            continue
        start = phoneme.start if pending_start is None else pending_start
        pending_start = None
        diphthong = _DIPHTHONGS.get(phoneme.symbol)
        if diphthong is None:
            out.append(Phoneme(phoneme.symbol, start, phoneme.end))
            continue
        middle = start + 0.6 * (phoneme.end - start)
        out.append(Phoneme(diphthong[0], start, middle))
        out.append(Phoneme(diphthong[1], middle, phoneme.end))
    return out


def _dominance(times: NDArray[np.float64], phoneme: Phoneme, delay: float) -> NDArray[np.float64]:
    """Dominance of one phoneme over time [T]: a flat core with Gaussian flanks."""
    start, end = phoneme.start - delay, phoneme.end - delay
    half = max((end - start) / 2.0, 0.012)
    if phoneme.symbol in BILABIALS + LABIODENTALS:
        # A frame lasts 40 ms: the core reaches at least one frame's middle.
        core, spread, strength = max(0.6 * half, 0.021), _LIP_SPREAD, _LIP_STRENGTH
    else:
        core, spread, strength = 0.6 * half, _SPREAD + 0.2 * half, 1.0
        if phoneme.symbol == " ":
            strength = _SPACE_STRENGTH
    distance = np.maximum(np.abs(times - (start + end) / 2.0) - core, 0.0)
    dominance: NDArray[np.float64] = strength * np.exp(-0.5 * (distance / spread) ** 2)
    return dominance


def _pose(weights: dict[str, float]) -> NDArray[np.float64]:
    pose = np.zeros(len(MOUTH_UNITS))
    for key, value in weights.items():
        pose[MOUTH_UNITS.index(_ABBREVIATIONS[key])] = value
    return pose


_POSE_OF = {symbol: _pose(weights) for symbols, weights in _POSES for symbol in symbols}
