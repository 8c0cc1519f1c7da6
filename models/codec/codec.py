"""A small latent codec: 256x256 RGB <-> 8 channels at 32x32 (f8), convolutions only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class CodecSpec:
    """Channel counts of the codec; ``stride`` pixels a latent cell, ``latent`` channels."""

    latent: int = 8
    encoder: tuple[int, int] = (48, 96)
    decoder: tuple[int, int] = (64, 40)
    stride: int = 8


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2.weight.data.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


class Codec(nn.Module):
    """Encoder for portraits (run once), decoder for every frame (about 0.6 GFLOP).

    ``mean`` and ``std`` [C] are measured on the training latents after training: ``encode``
    returns, and ``decode`` takes, latents of zero mean and unit deviation.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: CodecSpec | None = None) -> None:
        super().__init__()
        self.spec = spec or CodecSpec()
        (e0, e1), (d0, d1) = self.spec.encoder, self.spec.decoder
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(48, e0, 3, padding=1),
            _Residual(e0),
            nn.Conv2d(e0, e1, 4, stride=2, padding=1),
            _Residual(e1),
            nn.SiLU(),
            nn.Conv2d(e1, self.spec.latent, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(self.spec.latent, d0, 3, padding=1),
            _Residual(d0),
            nn.SiLU(),
            nn.Conv2d(d0, 4 * d1, 1),
            nn.PixelShuffle(2),
            _Residual(d1),
            nn.Conv2d(d1, 48, 3, padding=1),
            nn.PixelShuffle(4),
        )
        self.register_buffer("mean", torch.zeros(self.spec.latent))
        self.register_buffer("std", torch.ones(self.spec.latent))

    def encode(self, images: Tensor) -> Tensor:
        """RGB in [0, 1], [N, 3, H, W] with H, W multiples of 8 -> latents [N, C, H/8, W/8]."""
        z = self.encoder(images * 2 - 1)
        return (z - self.mean[:, None, None]) / self.std[:, None, None]

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [N, C, h, w] -> RGB [N, 3, 8h, 8w], about [0, 1], not clamped."""
        z = latents * self.std[:, None, None] + self.mean[:, None, None]
        return self.decoder(z) * 0.5 + 0.5
