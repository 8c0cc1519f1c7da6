"""Encode clips once for training: latents of each frame, as it is and in augmented variants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.dataset.clips import Clip, fingerprint, load_clip
from models.io.console import progress
from models.mini.autoencoder import Autoencoder
from models.training.cache import fingerprint_of, kept

CELL = 8  # pixels a latent cell


@dataclass(frozen=True)
class Variant:
    """One encoded version of one clip.

    Attributes:
        clip: name of the clip.
        latents: float16 [T, C, H, W]; ``neutral`` float16 [C, H, W] is the frame at rest.
        mask: float16 [T, H, W] in [0, 1].
        mouth_xy: float32 [T, 2]; eyes_xy: float32 [T, 4]; in latent cells.
        mirrored: left and right are swapped, and with them yaw, roll and horizontal gaze.
    """

    clip: str
    latents: Tensor
    neutral: Tensor
    mask: Tensor
    mouth_xy: Tensor
    eyes_xy: Tensor
    mirrored: bool


@dataclass(frozen=True)
class _Change:
    """A similarity of the picture plane and a colour gain."""

    matrix: NDArray[np.float32]
    gain: NDArray[np.float32]
    offset: NDArray[np.float32]
    mirrored: bool

    def picture(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        side = frame.shape[0]
        moved = cv2.warpAffine(frame, self.matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)
        coloured = moved.astype(np.float32) * self.gain + self.offset
        clipped: NDArray[np.uint8] = np.clip(coloured, 0, 255).astype(np.uint8)
        return clipped

    def mask(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        scale = 256 / mask.shape[0]
        matrix = self.matrix.copy()
        matrix[:, 2] /= scale
        return np.asarray(cv2.warpAffine(mask, matrix, mask.shape[::-1]), np.uint8)

    def points(self, xy: NDArray[np.float32]) -> NDArray[np.float32]:
        moved = xy @ self.matrix[:, :2].T + self.matrix[:, 2]
        return np.asarray(moved, np.float32)


def _original() -> _Change:
    identity = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    return _Change(identity, np.ones(3, np.float32), np.zeros(3, np.float32), False)


def _random(rng: np.random.Generator, mirrored: bool) -> _Change:
    zoom = rng.uniform(0.94, 1.06)
    shift = rng.uniform(-6, 6, 2) + 128 * (1 - zoom)
    matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]], np.float32)
    if mirrored:
        matrix[0] = (-zoom, 0, 255 - shift[0])
    gain = rng.uniform(0.85, 1.15) * rng.uniform(0.93, 1.07, 3)
    offset = rng.uniform(-12, 12, 3).astype(np.float32)
    return _Change(matrix, gain.astype(np.float32), offset, mirrored)


@torch.no_grad()
def encode_clip(codec: Autoencoder, clip: Clip, name: str, change: _Change) -> Variant:
    """Encode every frame of a clip after one change of picture."""
    pictures = [change.picture(frame) for frame in clip.video]
    pictures.append(change.picture(clip.neutral))
    latents = []
    for start in range(0, len(pictures), 32):
        batch = torch.from_numpy(np.stack(pictures[start : start + 32]))
        batch = batch.permute(0, 3, 1, 2).float() / 255
        with torch.autocast("cpu", dtype=torch.bfloat16):
            latents.append(codec.encode(batch).half())
    encoded = torch.cat(latents)
    masks = np.stack(
        [cv2.resize(change.mask(m), (32, 32), interpolation=cv2.INTER_AREA) for m in clip.mask]
    )
    mouth = change.points(clip.mouth_xy) / CELL
    eyes = change.points(clip.eyes_xy.reshape(-1, 2, 2)) / CELL
    if change.mirrored:
        eyes = eyes[:, ::-1]
    return Variant(
        name,
        encoded[:-1],
        encoded[-1],
        torch.from_numpy(masks).half() / 255,
        torch.from_numpy(mouth),
        torch.from_numpy(np.ascontiguousarray(eyes.reshape(-1, 4))),
        change.mirrored,
    )


def encode_all(
    codec: Autoencoder, paths: list[Path], cache: Path, *, augmented: int
) -> list[Variant]:
    """Encode clips, or load what the same codec made of the same clips and left in ``cache``.

    Each clip gives its original and ``augmented`` variants with colour, zoom and shift changed,
    every other one mirrored.
    """
    maker = fingerprint_of(codec)
    variants = []
    for path in progress(paths, "encoding clips"):

        def encode(path: Path = path) -> dict[str, Any]:
            number, clip = int(path.name), load_clip(path)
            rng, changes = np.random.default_rng(number), [_original()]
            for k in range(number, number + augmented):
                changes.append(_random(rng, mirrored=k % 2 == 0))
            made = [encode_clip(codec, clip, path.name, change) for change in changes]
            return {"variants": [vars(variant) for variant in made]}

        made_of = f"{maker} {fingerprint(path)} {augmented}"
        stored = kept(cache / f"{path.name}.pt", made_of, encode)
        variants += [Variant(**fields) for fields in stored["variants"]]
    return variants
