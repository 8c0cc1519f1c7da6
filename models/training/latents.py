"""Encodes clips once for training: latents of each frame, original and augmented."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.dataset.clips import Clip, fingerprint, load_clip
from models.io.console import progress
from models.mini.autoencoder import Autoencoder
from models.training.run import load_or_compute

LATENT_STRIDE = 8  # image pixels a latent pixel


@dataclass(frozen=True)
class Variant:
    """One encoded version of one clip.

    Attributes:
        clip: name of the clip.
        latents: float16 [T, C, H, W].
        neutral: latents of the neutral frame, float16 [C, H, W].
        mask: float16 [T, H, W] in [0, 1].
        mouth_xy: float32 [T, 2]; eyes_xy: float32 [T, 4]; latent pixels.
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
class _Augmentation:
    """A similarity transform [2, 3] of the image plane, and gain and offset [3] of its colours."""

    matrix: NDArray[np.float32]
    gain: NDArray[np.float32]
    offset: NDArray[np.float32]
    mirrored: bool

    def transform_image(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        side = frame.shape[0]
        warped = cv2.warpAffine(frame, self.matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)
        recoloured = warped.astype(np.float32) * self.gain + self.offset
        clipped: NDArray[np.uint8] = np.clip(recoloured, 0, 255).astype(np.uint8)
        return clipped

    def transform_mask(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        scale = 256 / mask.shape[0]
        matrix = self.matrix.copy()
        matrix[:, 2] /= scale
        return np.asarray(cv2.warpAffine(mask, matrix, mask.shape[::-1]), np.uint8)

    def transform_points(self, xy: NDArray[np.float32]) -> NDArray[np.float32]:
        warped = xy @ self.matrix[:, :2].T + self.matrix[:, 2]
        return np.asarray(warped, np.float32)


def _no_augmentation() -> _Augmentation:
    identity = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    return _Augmentation(identity, np.ones(3, np.float32), np.zeros(3, np.float32), False)


def _random_augmentation(rng: np.random.Generator, mirrored: bool) -> _Augmentation:
    zoom = rng.uniform(0.94, 1.06)
    shift = rng.uniform(-6, 6, 2) + 128 * (1 - zoom)
    matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]], np.float32)
    if mirrored:
        matrix[0] = (-zoom, 0, 255 - shift[0])
    gain = rng.uniform(0.85, 1.15) * rng.uniform(0.93, 1.07, 3)
    offset = rng.uniform(-12, 12, 3).astype(np.float32)
    return _Augmentation(matrix, gain.astype(np.float32), offset, mirrored)


@torch.no_grad()
def encode_clip(
    autoencoder: Autoencoder, clip: Clip, name: str, augmentation: _Augmentation
) -> Variant:
    """Encode every frame of a clip after one augmentation."""
    images = [augmentation.transform_image(frame) for frame in clip.video]
    images.append(augmentation.transform_image(clip.neutral))
    latents = []
    for start in range(0, len(images), 32):
        batch = torch.from_numpy(np.stack(images[start : start + 32]))
        batch = batch.permute(0, 3, 1, 2).float() / 255
        with torch.autocast("cpu", dtype=torch.bfloat16):
            latents.append(autoencoder.encode(batch).half())
    encoded = torch.cat(latents)
    masks = [augmentation.transform_mask(mask) for mask in clip.mask]
    small = np.stack([cv2.resize(m, (32, 32), interpolation=cv2.INTER_AREA) for m in masks])
    mouth = augmentation.transform_points(clip.mouth_xy) / LATENT_STRIDE
    eyes = augmentation.transform_points(clip.eyes_xy.reshape(-1, 2, 2)) / LATENT_STRIDE
    if augmentation.mirrored:
        eyes = eyes[:, ::-1]
    return Variant(
        name,
        encoded[:-1],
        encoded[-1],
        torch.from_numpy(small).half() / 255,
        torch.from_numpy(mouth),
        torch.from_numpy(np.ascontiguousarray(eyes.reshape(-1, 4))),
        augmentation.mirrored,
    )


def encode_all(
    autoencoder: Autoencoder, paths: list[Path], cache: Path, *, augmented: int
) -> list[Variant]:
    """Encode clips, or load what the same autoencoder encoded of the same clips from ``cache``.

    Each clip gives its original and ``augmented`` variants with colour, zoom and shift changed,
    every other one mirrored.
    """
    weights = _fingerprint_weights(autoencoder)
    variants = []
    for path in progress(paths, "encoding clips"):

        def encode(path: Path = path) -> dict[str, Any]:
            number, clip = int(path.name), load_clip(path)
            rng, augmentations = np.random.default_rng(number), [_no_augmentation()]
            for k in range(number, number + augmented):
                augmentations.append(_random_augmentation(rng, mirrored=k % 2 == 0))
            encoded = [encode_clip(autoencoder, clip, path.name, one) for one in augmentations]
            return {"variants": [vars(variant) for variant in encoded]}

        cache_key = f"{weights} {fingerprint(path)} {augmented}"
        stored = load_or_compute(cache / f"{path.name}.pt", cache_key, encode)
        variants += [Variant(**fields) for fields in stored["variants"]]
    return variants


def _fingerprint_weights(module: nn.Module) -> str:
    digest = sha256()
    for value in module.state_dict().values():
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()
