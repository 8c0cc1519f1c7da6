"""Turns timed phonemes into mouth units: poses blended over time, lips closed reliably."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from models.mini.motion import MOUTH_UNITS

LATENESS = 0.065
"""Seconds by which the speech model's phoneme times are late."""

_BRIEF = {
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

LIPS = "pbm"
"""Phonemes that close the lips."""
LIP_AND_TEETH = "fv"
"""Phonemes that put the lower lip to the upper teeth."""

_POSES: tuple[tuple[str, dict[str, float]], ...] = (
    (LIPS, {"pr": 0.5, "rl": 0.3, "ru": 0.25}),
    (LIP_AND_TEETH, {"j": 0.06, "rl": 0.7, "up": 0.35}),
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
_STRESS = "ˈˌ"
_LENGTH = "ː"
_SPREAD = 0.034
_LIP_SPREAD = 0.015
_LIP_STRENGTH = 4.0
_REST_STRENGTH = 0.03
_SPACE_STRENGTH = 0.25
_QUIET = 0.02
_TEXTURE = (0.72, 0.42)
"""Jaw and lips open with loudness: share kept in silence, share added at full energy."""


@dataclass(frozen=True)
class Phoneme:
    """One symbol of speech and when it sounds, seconds."""

    symbol: str
    start: float
    end: float


def mouth_track(
    phonemes: Sequence[Phoneme],
    frames: int,
    fps: float = 25.0,
    energy: NDArray[np.float32] | None = None,
    lateness: float = LATENESS,
) -> NDArray[np.float32]:
    """Blend the poses of the phonemes around each frame's middle.

    Args:
        phonemes: in order of time; symbols without a pose (spaces, punctuation) are silence.
        frames: T, length of the track.
        fps: frames per second.
        energy: loudness of each frame, about 0..1, float32 [T]; opens the jaw
            more or less, and rests it in silence.
        lateness: seconds that all phonemes are moved to the front.

    Returns:
        float32 [T, 13] in 0..1, columns ``MOUTH_UNITS``; exactly zero away from speech.

    Raises:
        ValueError: energy has another length.
    """
    if energy is not None and energy.shape != (frames,):
        raise ValueError(f"energy: expected [{frames}], got {list(energy.shape)}")
    track, lips = _blend(fold(phonemes), frames, fps, lateness)
    if energy is not None:
        loud = _TEXTURE[0] + _TEXTURE[1] * np.clip(energy, 0.0, 1.1)
        for name in ("jawOpen", "mouthLowerDown"):
            track[:, MOUTH_UNITS.index(name)] *= loud
        track *= _voiced(energy)[:, None]
    track = _close_lips(track, lips)
    track[np.abs(track).max(1) < 0.012] = 0.0
    return np.clip(track, 0.0, 1.0).astype(np.float32)


def _blend(
    phonemes: Sequence[Phoneme], frames: int, fps: float, lateness: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Poses weighted by dominance [T, 13], and how far each frame closes the lips [T]."""
    times = (np.arange(frames, dtype=np.float64) + 0.5) / fps
    total = np.zeros((frames, len(MOUTH_UNITS)))
    weight = np.full(frames, _REST_STRENGTH)
    lips = np.zeros(frames)
    for item in phonemes:
        pose = _POSE_OF.get(item.symbol)
        bell = _bell(times, item, lateness)
        weight += bell
        if pose is not None:
            total += bell[:, None] * pose
        if item.symbol in LIPS:
            lips = np.maximum(lips, bell / _LIP_STRENGTH)
    return total / weight[:, None], lips


def _voiced(energy: NDArray[np.float32]) -> NDArray[np.float64]:
    """1 near sound, 0 from some frames after its end to some frames before its start."""
    heard = maximum_filter1d((energy > _QUIET).astype(np.float64), 7)
    gate: NDArray[np.float64] = np.clip(1.1 * gaussian_filter1d(heard, 0.8) - 0.05, 0.0, 1.0)
    return gate


def _close_lips(track: NDArray[np.float64], lips: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take back whatever would part the lips, as far as lip closing holds (0..1)."""
    hold = np.clip(1.4 * lips, 0.0, 1.0)
    out = track.copy()
    for name in ("jawOpen", "mouthLowerDown", "mouthUpperUp", "mouthFunnel", "tongueOut"):
        out[:, MOUTH_UNITS.index(name)] *= 1.0 - hold
    press = MOUTH_UNITS.index("mouthPress")
    out[:, press] = np.maximum(out[:, press], 0.5 * hold)
    return out


def fold(phonemes: Sequence[Phoneme]) -> list[Phoneme]:
    """Give stress marks' time to the next phoneme, length marks' to the last; split diphthongs."""
    out: list[Phoneme] = []
    waiting: float | None = None
    for item in phonemes:
        if item.symbol in _STRESS:
            waiting = item.start if waiting is None else waiting
            continue
        if item.symbol == _LENGTH:
            if out:
                out[-1] = Phoneme(out[-1].symbol, out[-1].start, item.end)
            continue
        start = item.start if waiting is None else waiting
        waiting = None
        num_branches = _DIPHTHONGS.get(item.symbol)
        if num_branches is None:
            out.append(Phoneme(item.symbol, start, item.end))
            continue
        middle = start + 0.6 * (item.end - start)
        out.append(Phoneme(num_branches[0], start, middle))
        out.append(Phoneme(num_branches[1], middle, item.end))
    return out


def _bell(times: NDArray[np.float64], item: Phoneme, lateness: float) -> NDArray[np.float64]:
    """Dominance of one phoneme over time: flat in its core, Gaussian flanks."""
    start, end = item.start - lateness, item.end - lateness
    half = max((end - start) / 2.0, 0.012)
    if item.symbol in LIPS + LIP_AND_TEETH:
        # A frame lasts 40 ms: the core reaches at least one frame's middle.
        core, spread, strength = max(0.6 * half, 0.021), _LIP_SPREAD, _LIP_STRENGTH
    else:
        core, spread, strength = 0.6 * half, _SPREAD + 0.2 * half, 1.0
        if item.symbol == " ":
            strength = _SPACE_STRENGTH
    away = np.maximum(np.abs(times - (start + end) / 2.0) - core, 0.0)
    bell: NDArray[np.float64] = strength * np.exp(-0.5 * (away / spread) ** 2)
    return bell


def _pose(brief: dict[str, float]) -> NDArray[np.float64]:
    pose = np.zeros(len(MOUTH_UNITS))
    for key, value in brief.items():
        pose[MOUTH_UNITS.index(_BRIEF[key])] = value
    return pose


_POSE_OF = {symbol: _pose(brief) for symbols, brief in _POSES for symbol in symbols}
