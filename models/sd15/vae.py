"""Stable Diffusion's autoencoder as the SD 1.5 models use it: posterior means, scaled."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

VAE_FACTOR = 0.18215
"""Latents are the posterior's mean times this; stable diffusion's, a constant of all models."""


class StableDiffusionVAE:
    """An ``AutoencoderKL``, one picture at a time: a clip at once would need gigabytes more.

    Args:
        network: diffusers' class, with values.
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
