"""Encoders of the conditioning, from face embedding, speech and face mask; the autoencoder."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VAE_FACTOR = 0.18215
"""Latents are the posterior's mean times this, in Stable Diffusion 1.x."""


class ImageProj(nn.Module):
    """A face embedding -> tokens for cross-attention."""

    def __init__(self, face: int, tokens: int, channels: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.proj = nn.Linear(face, tokens * channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, face: Tensor) -> Tensor:
        """[B, D] -> [B, tokens, C]."""
        out: Tensor = self.norm(self.proj(face).view(len(face), self.tokens, -1))
        return out


class AudioProj(nn.Module):
    """Windows of speech features of all layers -> audio tokens of every frame.

    Args:
        window, layers, channels: of the features; hidden: width; tokens: of a frame; outputs: width
            of a token.
    """

    def __init__(
        self, window: int, layers: int, channels: int, hidden: int, tokens: int, outputs: int
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.proj1 = nn.Linear(window * layers * channels, hidden)
        self.proj2 = nn.Linear(hidden, hidden)
        self.proj3 = nn.Linear(hidden, tokens * outputs)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, features: Tensor) -> Tensor:
        """[B, F, window, layers, channels] -> [B, F, tokens, C]."""
        h = F.relu(self.proj1(features.flatten(2)))
        h = self.proj3(F.relu(self.proj2(h)))
        out: Tensor = self.norm(h.view(*h.shape[:2], self.tokens, -1))
        return out


class FaceLocator(nn.Module):
    """The face's mask -> features as wide as conv_in, at an eighth: 3x3 convolutions and SiLU."""

    def __init__(self, outputs: int, channels: tuple[int, ...], inputs: int = 1) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(inputs, channels[0], 3, padding=1)
        blocks = []
        for before, after in zip(channels, channels[1:], strict=False):
            blocks.append(nn.Conv2d(before, before, 3, padding=1))
            blocks.append(nn.Conv2d(before, after, 3, padding=1, stride=2))
        self.blocks = nn.ModuleList(blocks)
        self.conv_out = nn.Conv2d(channels[-1], outputs, 3, padding=1)

    def forward(self, mask: Tensor) -> Tensor:
        """Pictures [N, C, H, W] from 0 to 1 -> features [N, C, H / 8, W / 8]."""
        h = F.silu(self.conv_in(mask))
        for block in self.blocks:
            h = F.silu(block(h))
        out: Tensor = self.conv_out(h)
        return out


class StableDiffusionVAE:
    """Stable Diffusion's autoencoder: posterior means, scaled.

    It runs one picture at a time: a clip at once would need gigabytes more.

    Args:
        network: diffusers' ``AutoencoderKL`` with its weights.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network: Any = network.eval()

    @torch.inference_mode()
    def encode(self, pixels: Tensor) -> Tensor:
        """RGB [N, 3, H, W] from -1 to 1 -> latents [N, 4, H / 8, W / 8], posterior means."""
        first = self.network.encoder.conv_in.weight
        means = [
            self.network.encode(picture.to(first.device, first.dtype)).latent_dist.mean
            for picture in pixels[:, None]
        ]
        return torch.cat(means).float() * VAE_FACTOR

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B, 4, F, H, W] -> RGB [B, F, 3, 8H, 8W] from 0 to 1, float32."""
        first = self.network.decoder.conv_in.weight
        images = latents.transpose(1, 2).flatten(0, 1) / VAE_FACTOR
        pictures = [
            self.network.decode(image.to(first.device, first.dtype)).sample.float()
            for image in images[:, None]
        ]
        frames = (torch.cat(pictures) / 2 + 0.5).clamp(0.0, 1.0)
        return frames.view(len(latents), -1, *frames.shape[1:])
