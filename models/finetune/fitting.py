"""Finds the face units that explain how tracked landmarks have moved.

Where landmarks go is linear in the units u, seen through a network with errors of its own, and
units of speech come together: d ~ N(B u, C), u ~ N(m, S). All four are measured on photo puppets,
whose units are known (``bake_landmark_response.py``). The most likely units between 0 and 1 that
also change smoothly are the minimum of

    sum_t  (B u_t - d_t)' C^-1 (B u_t - d_t)  +  (u_t - m)' S^-1 (u_t - m)
           +  |u_t - u_(t-1)|^2 / CHANGE^2

What a shift, a zoom or a small turn of the head does to the landmarks is no unit's doing and is
taken out of d first. The minimum is found by projected coordinate descent, all frames at once.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.finetune.stabilise import STABLE, Floats
from models.mini.motion import MOUTH_UNITS
from models.mini.scene.skin_motion import UNITS

RESPONSE = Path(__file__).with_name("landmark_response.npz")
EYES = (
    *(33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    *(263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
    *(247, 30, 29, 27, 28, 56, 190, 130, 25, 110, 24, 23, 22, 26, 112, 243),
    *(467, 260, 259, 257, 258, 286, 414, 359, 255, 339, 254, 253, 252, 256, 341, 463),
)
"""Landmarks that blinks move; no unit is read from them."""
BROW = UNITS.index("brow")
LOOSER = 1.5
"""The people of a video move more freely than puppets: factor on S."""
SPARE = 0.03
"""Deviation that every unit has beside it."""
CHANGE = 0.15
"""Expected change of a unit from frame to frame."""
SWEEPS = 200


def fit_units(moved: NDArray[np.floating], neutral: NDArray[np.floating]) -> Floats:
    """Units [T, 14], columns ``UNITS``, in [0, 1].

    Args:
        moved: how far landmarks are from the neutral ones, [T, 468, 2], window pixels.
        neutral: landmarks [468, 3] of the neutral face, window pixels, depth away from the camera.
    """
    with np.load(RESPONSE) as archive:
        readout, gram, mean, covariance = (
            archive[name].astype(np.float64) for name in ("readout", "gram", "mean", "covariance")
        )
    moved = without_turns(moved, neutral)
    spread = LOOSER * covariance + SPARE**2 * np.eye(len(UNITS))
    tightness = np.linalg.inv(spread)
    pull = np.tensordot(moved, readout, 2) + tightness @ mean
    return _descend(gram + tightness, pull)


def without_turns(moved: NDArray[np.floating], neutral: NDArray[np.floating]) -> Floats:
    """Movements [T, 468, 2] less the shift, zoom, roll and small turn that fit them best.

    They are fitted to the landmarks that hold the head still, and to the whole face a little.
    """
    weight = np.full(468, 0.1)
    weight[list(STABLE)] = 1.0
    x, y, z = (np.asarray(neutral, np.float64) - np.mean(neutral, 0)).T
    zero, one = np.zeros_like(x), np.ones_like(x)
    pairs = [(one, zero), (zero, one), (x, y), (-y, x), (z, zero), (zero, z)]
    rigid = np.stack([np.stack(pair, -1) for pair in pairs]).reshape(len(pairs), -1).T
    scale = np.repeat(np.sqrt(weight), 2)
    flat = np.asarray(moved, np.float64).reshape(len(moved), -1)
    sizes, *_ = np.linalg.lstsq(scale[:, None] * rigid, scale[:, None] * flat.T, rcond=None)
    rest: Floats = (flat - (rigid @ sizes).T).reshape(moved.shape)
    return rest


def split_units(units: Floats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mouth [T, 13], columns ``MOUTH_UNITS``, and brow [T]."""
    return units[:, : len(MOUTH_UNITS)].astype(np.float32), units[:, BROW].astype(np.float32)


def _descend(gram: Floats, pull: Floats) -> Floats:
    """Minimise u'Gu/2 - p'u and the changes from row to row over u in [0, 1].

    Args:
        gram: [K, K]; pull: [T, K].
    """
    count = len(pull)
    smoothness = 1.0 / CHANGE**2
    neighbours = np.full(count, 2.0)
    neighbours[[0, -1]] = 1.0 if count > 1 else 0.0
    units = np.zeros_like(pull)
    for _ in range(SWEEPS):
        for k in range(len(gram)):
            for parity in (0, 1):  # frames of one parity do not depend on each other
                around = np.zeros(count)
                around[1:] += units[:-1, k]
                around[:-1] += units[1:, k]
                at = slice(parity, None, 2)
                rest = pull[at, k] - units[at] @ gram[k] + units[at, k] * gram[k, k]
                stiff = gram[k, k] + smoothness * neighbours[at]
                units[at, k] = np.clip((rest + smoothness * around[at]) / stiff, 0.0, 1.0)
    return units
