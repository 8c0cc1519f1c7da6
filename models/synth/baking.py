"""What all figures' surfaces share: noise, and masks of lips, ears, lids and mouth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates, zoom

from models.synth.mesh import Floats

NOISE_SIZE = 64
MASK_SIZE = 1024
_MASKS = (("lips", 1.2), ("ears", 4.0), ("eyelids", 4.0), ("inside-mouth", 2.0))
_MOTTLE = ((0.5, 0), (0.8, 1), (2.1, 2), (9.0, 0))


def make_noise() -> Floats:
    """Noise that repeats in all directions, values 0..1 about 0.5, [64, 64, 64, 3]."""
    rng = np.random.default_rng(5)

    def smooth(cells: int) -> Floats:
        values = rng.random((cells, cells, cells, 3)).astype(np.float32)
        factor = NOISE_SIZE // cells
        padded = np.pad(values, ((1, 1),) * 3 + ((0, 0),), "wrap")
        fine: Floats = zoom(padded, (factor, factor, factor, 1), order=1)
        inner: Floats = fine[factor:-factor, factor:-factor, factor:-factor]
        return inner

    mixed = smooth(16) * 0.5 + smooth(32) * 0.3 + rng.random((NOISE_SIZE,) * 3 + (3,)) * 0.2
    spread = np.clip((mixed - mixed.mean()) / mixed.std() * 0.19 + 0.5, 0, 1)
    out: Floats = spread.astype(np.float32)
    return out


def mottle(noise: Floats, rest: Floats, seed: float) -> Floats:
    """Slow to fine noise at each point [N, 3] of a figure, [N, 4], for uneven skin."""
    shift = seed * 7.0
    fields = [
        map_coordinates(
            noise[..., channel],
            ((rest * scale + shift) * NOISE_SIZE / 10 % NOISE_SIZE).T,
            order=1,
            mode="grid-wrap",
        )
        for scale, channel in _MOTTLE
    ]
    return np.stack(fields, 1).astype(np.float32)


def read_masks(folder: Path) -> NDArray[np.uint8]:
    """Lips, ears, eyelids and inside of the mouth, uint8 [1024, 1024, 4], first row lowest.

    Raises:
        RuntimeError: a picture is missing.
    """
    layers = []
    for name, blur in _MASKS:
        path = str(folder / f"mpfb_{name}.jpg")
        picture = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
        if picture is None:
            raise RuntimeError(f"{path}: expected a readable picture")
        small = cv2.resize(picture, (MASK_SIZE, MASK_SIZE), interpolation=cv2.INTER_AREA)
        layers.append(gaussian_filter(small.astype(np.float32), blur))
    return np.ascontiguousarray(np.stack(layers, -1).astype(np.uint8)[::-1])
