"""Metrics of signals and frames: correlation, lag, blinks, change, drift, borders, PSNR.

Every function treats true and generated frames alike. A metric that cannot be computed (a constant
track, too few frames) is NaN. Frames are RGB uint8 [T, H, W, 3]; changes and
drifts are in levels of 0..255.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.floating]
Frames = NDArray[np.uint8]

MAX_LAG = 8
"""Lags are searched from -MAX_LAG to MAX_LAG frames."""
STILL = 1e-6
"""A signal with less standard deviation than this is constant."""
DRIFT_SECONDS = 5.0
BLINK_DEPTH = 0.12
"""A blink closes the eye by at least this share of its open height. Landmarks see shut eyes half
open: of 40 true blinks in two minutes of photo puppets this finds 40, and 0.25 found 14."""
BLINK_SECONDS = 0.6
"""Nothing longer is a blink."""
EYE_SECONDS = 1.0
_BLINK_GAP = 2
"""Frames; dips closer than this are one blink."""


def correlation(a: Signal, b: Signal) -> float:
    """Pearson correlation of two signals [T] where both are finite; NaN if one is constant."""
    both = np.isfinite(a) & np.isfinite(b)
    x, y = a[both].astype(np.float64), b[both].astype(np.float64)
    if x.size < 3 or x.std() < STILL or y.std() < STILL:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def lagged_correlation(late: Signal, reference: Signal, lag: int) -> float:
    """Correlation of ``late`` [T] at frame n + lag with ``reference`` [T] at frame n."""
    if lag > 0:
        return correlation(late[lag:], reference[:-lag])
    if lag < 0:
        return correlation(late[:lag], reference[-lag:])
    return correlation(late, reference)


def sync_offset(signal: Signal, reference: Signal, reach: int = MAX_LAG) -> float:
    """Lag of ``signal`` [T] behind ``reference`` [T] in frames; negative where it leads.

    The lag of the highest correlation within +-reach, refined by a parabola; NaN when there is
    none, and the bare lag at an end of the range.
    """
    lags = range(-reach, reach + 1)
    if signal.size <= reach + 3:
        return float("nan")
    values = np.array([lagged_correlation(signal, reference, lag) for lag in lags])
    if not np.isfinite(values).any():
        return float("nan")
    best = int(np.nanargmax(values))
    if not 0 < best < len(values) - 1:
        return float(lags[best])
    before, top, after = values[best - 1 : best + 2]
    curve = before - 2 * top + after
    shift = 0.0 if not np.isfinite(curve) or curve >= 0 else 0.5 * (before - after) / curve
    return lags[best] + float(np.clip(shift, -0.5, 0.5))


def amplitude(signal: Signal, reference: Signal) -> float:
    """Ratio of standard deviations; NaN if the reference is constant."""
    below = float(np.nanstd(reference)) if np.isfinite(reference).any() else 0.0
    if below < STILL or not np.isfinite(signal).any():
        return float("nan")
    return float(np.nanstd(signal)) / below


def lowest_around(signal: Signal, instants: NDArray[np.intp], reach: int = 1) -> Signal:
    """The signal's minimum within +-reach frames of each instant, [len(instants)]."""
    spans = [signal[max(0, k - reach) : k + reach + 1] for k in instants.tolist()]
    return np.array([np.nanmin(s) if np.isfinite(s).any() else np.nan for s in spans])


def closed_share(signal: Signal, instants: NDArray[np.intp], threshold: float) -> float:
    """Share of instants around which the signal falls to the threshold; NaN without instants."""
    lowest = lowest_around(signal, instants)
    lowest = lowest[np.isfinite(lowest)]
    return float((lowest <= threshold).mean()) if lowest.size else float("nan")


@dataclass(frozen=True)
class Blinks:
    """Blinks of an eye-openness track: rate, and mean closing of the eye (0..1)."""

    per_minute: float
    depth: float


def blinks(openness: Signal, fps: float) -> Blinks:
    """Count short, deep dips of ``openness`` [T] below the slowly changing open height."""
    if openness.size < 3 or not np.isfinite(openness).all():
        return Blinks(float("nan"), float("nan"))
    closing = 1 - openness / np.maximum(open_height(openness, fps), 1e-6)
    below = np.flatnonzero(closing > BLINK_DEPTH)
    if not below.size:
        return Blinks(0.0, 0.0)
    dips = np.split(below, np.flatnonzero(np.diff(below) > _BLINK_GAP) + 1)
    short = [dip for dip in dips if dip[-1] - dip[0] + 1 <= BLINK_SECONDS * fps]
    depth = float(np.mean([closing[dip].max() for dip in short])) if short else 0.0
    return Blinks(60 * fps * len(short) / openness.size, depth)


def open_height(openness: Signal, fps: float) -> Signal:
    """Openness of the eye without blinks, [T].

    The lower of the 75th percentiles over ``EYE_SECONDS`` before and after: a blink lies below
    both, a gaze that stays lowered does not.
    """
    span = max(1, round(EYE_SECONDS * fps))
    padded = np.pad(openness, span, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, span + 1)
    usual = np.percentile(windows, 75, axis=1)
    height: Signal = np.minimum(usual[: openness.size], usual[span:])
    return height


def frame_changes(frames: Frames, weight: NDArray[np.floating]) -> Signal:
    """Mean absolute difference of frame n + 1 from frame n under a weight [H, W], [T - 1]."""
    share = (weight / weight.sum()).astype(np.float32)
    changes = [
        float((np.abs(after.astype(np.int16) - before).mean(-1) * share).sum())
        for before, after in zip(frames[:-1], frames[1:], strict=True)
    ]
    return np.array(changes)


def border_ratio(changes: Signal, chunk: int) -> float:
    """Mean change at chunk borders over mean change inside chunks; NaN where one is missing.

    Args:
        changes: [T - 1], from frame n to n + 1; the border is between n = k * chunk - 1 and n + 1.
        chunk: frames in a chunk.
    """
    at_border = (np.arange(changes.size) + 1) % chunk == 0
    if chunk < 2 or not at_border.any() or changes[~at_border].mean() < STILL:
        return float("nan")
    return float(changes[at_border].mean() / changes[~at_border].mean())


def picture_drift(frames: Frames, weight: NDArray[np.floating], fps: float) -> float:
    """Weighted mean absolute difference between the mean frames of both ends of a video.

    The ends are ``DRIFT_SECONDS`` long, or half of a shorter video. For regions without movement.
    """
    first, last = _ends(frames, fps)
    difference = np.abs(first - last).mean(-1)
    return float((difference * weight).sum() / weight.sum())


def colour_drift(frames: Frames, weight: NDArray[np.floating], fps: float) -> float:
    """Difference of the mean colour under a weight [H, W] between both ends; for moving regions."""
    share = (weight / weight.sum())[..., None]
    first, last = ((end * share).sum((0, 1)) for end in _ends(frames, fps))
    return float(np.abs(first - last).mean())


def _ends(frames: Frames, fps: float) -> tuple[Signal, Signal]:
    span = max(1, min(round(DRIFT_SECONDS * fps), len(frames) // 2))
    return frames[:span].mean(0, dtype=np.float64), frames[-span:].mean(0, dtype=np.float64)


def psnr(frames: Frames, truth: Frames, boxes: NDArray[np.intp] | None = None) -> float:
    """Peak signal-to-noise ratio of all frames together, dB; infinite when they are equal.

    Args:
        frames: [T, H, W, 3]; truth: the same shape, or [1, H, W, 3] against every frame.
        boxes: (left, top, right, bottom) for each frame, [T, 4]; the whole picture if None.
    """
    squares, count = 0.0, 0
    for k, frame in enumerate(frames):
        true = truth[k if len(truth) > 1 else 0]
        if boxes is not None:
            left, top, right, bottom = boxes[k]
            frame, true = frame[top:bottom, left:right], true[top:bottom, left:right]
        difference = frame.astype(np.float32) - true
        squares += float((difference**2).sum(dtype=np.float64))
        count += difference.size
    if not count:
        return float("nan")
    return 10 * float(np.log10(255**2 * count / squares)) if squares else float("inf")
