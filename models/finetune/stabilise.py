"""Holds a tracked head still: similarities fitted to the landmarks that no face unit moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.face.geometry import Similarity, fit_similarity

EYE_CORNERS = (33, 133, 362, 263)
NOSE_BRIDGE = (6, 168, 197, 195, 5)
FOREHEAD = (10, 67, 69, 103, 104, 108, 109, 151, 297, 299, 332, 333, 337, 338)
STABLE = (*EYE_CORNERS, *EYE_CORNERS, *NOSE_BRIDGE, *FOREHEAD)
"""Landmarks that speech and blinks leave where they are; the eyes' corners count twice."""

Floats = NDArray[np.float64]


def hold_still(points: NDArray[np.floating], target: NDArray[np.floating]) -> list[Similarity]:
    """From each frame's pixels to where ``target`` has the stable landmarks.

    Args:
        points: landmarks of T frames [T, 468, 2 or more].
        target: landmarks [468, 2 or more].
    """
    stable = list(STABLE)
    fits = (
        fit_similarity(frame[stable, :2].astype(np.float64), target[stable, :2]) for frame in points
    )
    return [Similarity(np.column_stack([scale * turn, shift])) for scale, turn, shift in fits]


def smooth(signal: NDArray[np.floating], frames: float) -> Floats:
    """A signal [T, ...] through a Gaussian of that standard deviation; ends are repeated."""
    reach = max(1, round(3 * frames))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(frames, 1e-6)) ** 2)
    kernel /= kernel.sum()
    padded = np.concatenate([signal[:1]] * reach + [signal] + [signal[-1:]] * reach)
    count = len(signal)
    smoothed: Floats = np.zeros(signal.shape)
    for k, share in enumerate(kernel):
        smoothed += share * padded[k : k + count]
    return smoothed
