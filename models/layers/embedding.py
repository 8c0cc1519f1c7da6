"""Sinusoidal embedding of diffusion timesteps."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def timestep_embedding(t: Tensor, channels: int, *, max_period: float = 10_000.0) -> Tensor:
    """Embed timesteps [B] as [sin | cos], float32 [B, channels] (Ho et al. 2020, after Vaswani)."""
    half = channels // 2
    frequencies = torch.exp(
        -math.log(max_period) * torch.arange(half, dtype=torch.float32, device=t.device) / half
    )
    angles = t.float()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)
