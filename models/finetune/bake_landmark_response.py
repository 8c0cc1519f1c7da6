"""Bakes ``landmark_response.npz``: what tracked landmarks say about face units, from photo puppets.

python -m models.finetune.bake_landmark_response DATA

DATA is a folder of `livehead data photos`; its training clips have the true units of every frame.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.dataset.clips import Clip, list_clips, load_clip
from models.face.landmarks import Landmarks, follow_landmarks, move_landmarks
from models.face.window import face_window
from models.finetune.fitting import EYES, RESPONSE, without_turns
from models.finetune.stabilise import Floats, hold_still
from models.io.console import progress
from models.mini.motion import MOTION
from models.mini.scene.skin_motion import UNITS

CLIPS, EVERY = 160, 5
MARGIN = 64
FLOOR = 0.1
"""Variance of every landmark's error beside the measured ones, pixels squared."""


def main() -> None:
    """Write the file."""
    clips = list_clips(Path(sys.argv[1]), "train")
    chosen = np.random.default_rng(0).permutation(len(clips))[:CLIPS]
    pairs = [_measure(load_clip(clips[k])) for k in progress(chosen, "puppets")]
    moved, units = (np.concatenate(each) for each in zip(*pairs, strict=True))
    seen = np.setdiff1d(np.arange(468), EYES)
    flat = moved[:, seen].reshape(len(moved), -1)
    ridge = 1e-3 * len(units) * np.eye(len(UNITS))
    basis = np.linalg.solve(units.T @ units + ridge, units.T @ flat)
    error = np.cov((flat - units @ basis).T) + FLOOR * np.eye(flat.shape[1])
    weighted = np.linalg.solve(error, basis.T)
    readout = np.zeros((468, 2, len(UNITS)))
    readout[seen] = weighted.reshape(len(seen), 2, -1)
    np.savez_compressed(
        RESPONSE,
        readout=readout.astype(np.float32),
        gram=(basis @ weighted).astype(np.float32),
        mean=units.mean(0).astype(np.float32),
        covariance=np.cov(units.T).astype(np.float32),
    )


def _measure(clip: Clip) -> tuple[Floats, Floats]:
    """How far landmarks are seen to move [N, 468, 2], window pixels, and the true units [N, 14]."""
    neutral = Landmarks(np.load(clip.path / "track.npz")["marks"][0].astype(np.float32), 1.0)
    neutral = Landmarks(
        np.column_stack([neutral.points + MARGIN, np.zeros(468)]).astype(np.float32), 1.0
    )
    for _ in range(2):
        neutral = follow_landmarks(_padded(clip.neutral), neutral)
    at = list(range(0, clip.frames, EVERY))
    points = np.stack([follow_landmarks(_padded(clip.video[k]), neutral).points for k in at])
    window = face_window(neutral)
    rest = move_landmarks(neutral, window).points
    still = hold_still(points, neutral.points)
    moved = np.stack(
        [s.then(window).apply(p[:, :2]) - rest[:, :2] for s, p in zip(still, points, strict=True)]
    )
    brow = clip.motion[at][:, [MOTION.index("brow")]]
    return without_turns(moved, rest), np.column_stack([clip.mouth[at], brow]).astype(np.float64)


def _padded(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.pad(picture, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), mode="edge")


if __name__ == "__main__":
    main()
