"""Audio conditioning: windows of speech features become tokens, and frames attend to them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.nn.attention import CrossAttention


class AudioAttention(CrossAttention):
    """Every frame looks at the audio tokens around its own instant: batch of ``kv`` is B * F."""


class AudioTokens(nn.Module):
    """Speech features and mouth units of each frame -> tokens for attention and one vector."""

    def __init__(self, features: int, window: int, units: int, channels: int, vector: int) -> None:
        super().__init__()
        self.project = nn.Linear(features, channels)
        self.position = nn.Parameter(torch.randn(window, channels) * 0.2)
        self.from_units = nn.Linear(units, channels)
        self.mix = nn.Linear(channels, channels)
        self.to_vector = nn.Sequential(
            nn.Linear(window * channels, vector), nn.SiLU(), nn.Linear(vector, vector)
        )

    def forward(self, features: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """[B, F, W, D] and [B, F, U] -> tokens [B * F, W, C] and vectors [B, F, V]."""
        tokens = self.project(features) + self.position + self.from_units(units)[:, :, None]
        tokens = tokens + self.mix(F.silu(tokens))
        return tokens.flatten(0, 1), self.to_vector(tokens.flatten(2))
