"""Numbers as sines and cosines: diffusion timesteps, and conditions between 0 and 1."""

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


def bands(x: Tensor, octaves: int) -> Tensor:
    """Numbers [..., N] beside their sines and cosines, [..., N * (1 + 2 * octaves)].

    Angles are pi x, 2 pi x, 4 pi x, ...: a small change of x then changes some entry by much
    (Fourier features, arXiv 2006.10739).
    """
    angles = x[..., None] * (torch.pi * 2.0 ** torch.arange(octaves, device=x.device))
    waves = torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)
    return torch.cat([x, waves.to(x.dtype)], dim=-1)
