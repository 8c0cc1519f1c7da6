"""Encodes clips once for training: latents of each frame, original and augmented."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.dataset.clips import Clip, fingerprint, load_clip
from models.face.window import MIDDLE, SIDE
from models.io.console import progress
from models.mini.autoencoder import Autoencoder
from models.training.run import load_or_compute

LATENT_STRIDE = 8  # window pixels a latent pixel
BATCH, GPU_BATCH = 16, 128  # pictures encoded at once


@dataclass(frozen=True)
class Variant:
    """One encoded clip.

    Attributes:
        clip: name of the clip.
        latents: float16 [T, C, H, W].
        stills: latents of the portrait as it is, and of the neutral face, float16 [2, C, H, W].
        mask: where skin may move, float32 [H, W] in [0, 1].
        mouth_xy: float32 [T, 2]; eyes_xy: float32 [T, 4]; latent pixels.
        rest_xy: the mouth of the portrait, float32 [2].
        mirrored: left and right are swapped, and with them horizontal gaze.
    """

    clip: str
    latents: Tensor
    stills: Tensor
    mask: Tensor
    mouth_xy: Tensor
    eyes_xy: Tensor
    rest_xy: Tensor
    mirrored: bool


@torch.no_grad()
def encode_clip(autoencoder: Autoencoder, clip: Clip, *, mirrored: bool = False) -> Variant:
    """Encode every picture of a clip, as it is or mirrored, where the autoencoder's weights are."""
    device = autoencoder.mean.device
    size = BATCH if device.type == "cpu" else GPU_BATCH
    latents = []
    with ThreadPoolExecutor() as pool:  # a GPU encodes faster than one thread decodes
        for start in range(0, clip.frames + 2, size):
            indices = range(start, min(start + size, clip.frames + 2))
            pictures = np.stack(list(pool.map(lambda k: _picture(clip, k), indices)))
            if mirrored:
                pictures = pictures[:, :, ::-1]
            batch = torch.from_numpy(np.ascontiguousarray(pictures)).to(device)
            with torch.autocast(device.type, dtype=torch.bfloat16):
                encoded = autoencoder.encode(batch.permute(0, 3, 1, 2).float() / 255)
            latents.append(encoded.half().cpu())
    encoded = torch.cat(latents)
    side = SIDE // LATENT_STRIDE
    mask = cv2.resize(clip.cover, (side, side), interpolation=cv2.INTER_AREA)
    mouth, eyes = clip.mouth_xy.copy(), clip.eyes_xy.reshape(-1, 2, 2).copy()
    rest = 2 * np.array(MIDDLE, np.float32) - eyes[0].mean(0)
    if mirrored:
        mask = np.ascontiguousarray(mask[:, ::-1])
        for points in (mouth, eyes, rest):
            points[..., 0] = SIDE - points[..., 0]
        eyes = eyes[:, ::-1]
    return Variant(
        clip.name,
        encoded[:-2],
        encoded[-2:],
        torch.from_numpy(mask).float() / 255,
        torch.from_numpy(mouth) / LATENT_STRIDE,
        torch.from_numpy(np.ascontiguousarray(eyes.reshape(-1, 4))) / LATENT_STRIDE,
        torch.from_numpy(rest) / LATENT_STRIDE,
        mirrored,
    )


def _picture(clip: Clip, k: int) -> NDArray[np.uint8]:
    """Frame k; after the last one the portrait as it is, then the neutral face."""
    return clip.video[k] if k < clip.frames else (clip.photo, clip.neutral)[k - clip.frames]


def encode_all(autoencoder: Autoencoder, paths: list[Path], cache: Path) -> list[Variant]:
    """Encode clips, every other one mirrored, or load what the same autoencoder encoded."""
    weights = _fingerprint_encoder(autoencoder)
    variants = []
    for path in progress(paths, "encoding clips"):
        mirrored = int(path.name) % 4 >= 2

        def encode(path: Path = path, mirrored: bool = mirrored) -> dict[str, Any]:
            return vars(encode_clip(autoencoder, load_clip(path), mirrored=mirrored))

        cache_key = f"{weights} {fingerprint(path)} {mirrored}"
        stored = load_or_compute(cache / f"{path.name}.pt", cache_key, encode)
        stored.pop("made_of")
        variants.append(Variant(**stored))
    return variants


def _fingerprint_encoder(autoencoder: Autoencoder) -> str:
    """Hash of what latents depend on: another decoder leaves them valid."""
    digest = sha256()
    for name, value in autoencoder.state_dict().items():
        if not name.startswith("decoder."):
            digest.update(value.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()
