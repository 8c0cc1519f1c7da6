"""Compares mouth movement with speech where no true video exists: timing, and pauses."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from models.audio import SAMPLE_RATE
from models.dataset.clips import FPS
from models.evaluation.compare import Metrics
from models.evaluation.measure import (
    amplitude,
    blinks,
    border_ratio,
    correlation,
    frame_changes,
    lagged_correlation,
    sync_offset,
)

PAUSE_DB = 26.0
"""A frame this far below the loudest tenth of the recording is silent."""
PAUSE_FRAMES = 10
SETTLE_FRAMES = 4
"""Silence of ``PAUSE_FRAMES`` is a pause; its first frames, while lips close, do not count."""

Signal = NDArray[np.float64]


def loudness_track(audio: NDArray[np.float32], fps: float = FPS) -> Signal:
    """Loudness of each frame, square root of the RMS amplitude over three frames, [T].

    Args:
        audio: mono float32 at 16 kHz; fps: frames per second.
    """
    frames = math.ceil(audio.size * Fraction(fps).limit_denominator(1001) / SAMPLE_RATE)
    begins = np.round(np.arange(frames) * SAMPLE_RATE / fps).astype(np.intp)
    spans = np.diff(begins, append=round(frames * SAMPLE_RATE / fps))
    power = np.add.reduceat(audio.astype(np.float64) ** 2, begins) / spans
    around = np.convolve(np.pad(power, 1, mode="edge"), (0.25, 0.5, 0.25), mode="valid")
    envelope: Signal = around**0.25
    return envelope


def pauses(envelope: Signal) -> NDArray[np.bool_]:
    """Frames in a pause, without its first ``SETTLE_FRAMES``, bool [T]."""
    threshold = np.percentile(envelope, 90) * 10 ** (-PAUSE_DB / 40)
    quiet = envelope <= threshold
    inside = np.zeros(quiet.size, bool)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]]).astype(np.int8)))
    for begin, end in edges.reshape(-1, 2):
        if end - begin >= PAUSE_FRAMES:
            inside[begin + SETTLE_FRAMES : end] = True
    return inside


def compare_with_sound(
    opening: Signal, neutral: float, audio: NDArray[np.float32], tool: str, fps: float = FPS
) -> Metrics:
    """Timing and pauses of a mouth-opening track against the speech that it was generated from.

    Args:
        opening: [T], measured by one tool; neutral: the same of the portrait.
        audio: mono float32 at 16 kHz.
        tool: suffix of the metric names; fps: frames per second.

    Returns:
        ``loudness_correlation`` at lag 0 and at the best lag, ``loudness_offset_frames`` (negative
        where lips lead), and, if there are pauses, in deviations of the speaking mouth:
        ``pause_opening`` (opening above neutral) and ``pause_movement``.
    """
    envelope = loudness_track(audio, fps)[: opening.size]
    offset = sync_offset(opening, envelope)
    best = float("nan") if np.isnan(offset) else round(offset)
    metrics = {
        "loudness_correlation": correlation(opening, envelope),
        "loudness_correlation_best": (
            float("nan") if np.isnan(best) else lagged_correlation(opening, envelope, int(best))
        ),
        "loudness_offset_frames": offset,
        "pause_opening": float("nan"),
        "pause_movement": float("nan"),
    }
    quiet = pauses(envelope) & np.isfinite(opening)
    speaking = ~pauses(envelope) & np.isfinite(opening)
    if quiet.sum() >= PAUSE_FRAMES and speaking.sum() >= PAUSE_FRAMES:
        spread = max(float(opening[speaking].std()), 1e-6)
        metrics["pause_opening"] = (float(opening[quiet].mean()) - neutral) / spread
        metrics["pause_movement"] = amplitude(opening[quiet], opening[speaking])
    return {f"{name}.{tool}": value for name, value in metrics.items()}


def compare_with_clean(opening: Signal, clean: Signal, tool: str) -> Metrics:
    """Compare a mouth generated from processed speech with that from the unprocessed speech.

    Args:
        opening, clean: [T], measured by one tool.
        tool: suffix of the metric names.

    Returns:
        ``clean_correlation`` at lag 0, ``clean_offset_frames`` (positive where the mouth is later)
        and ``clean_amplitude_percent``.
    """
    metrics = {
        "clean_correlation": correlation(opening, clean),
        "clean_offset_frames": sync_offset(opening, clean),
        "clean_amplitude_percent": 100 * amplitude(opening, clean),
    }
    return {f"{name}.{tool}": value for name, value in metrics.items()}


def metrics_without_truth(
    frames: NDArray[np.uint8], eyes: Signal | None, chunk: int, fps: float = FPS
) -> Metrics:
    """Metrics that need no truth: change of the whole frame, chunk borders, blinks."""
    changes = frame_changes(frames, np.ones(frames.shape[1:3], np.float32))
    found = None if eyes is None else blinks(eyes, fps)
    return {
        "frame_change_levels": float(changes.mean()),
        "border_ratio": border_ratio(changes, chunk),
        "blinks_per_minute": float("nan") if found is None else found.per_minute,
        "blink_depth": float("nan") if found is None else found.depth,
    }
