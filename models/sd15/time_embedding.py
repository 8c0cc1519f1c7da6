"""The time embedding of a Stable Diffusion UNet."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.nn.embedding import timestep_embedding


class TimeEmbedding(nn.Module):
    """Sines and cosines of the time (cosines first), then two linear layers."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.channels = channels
        self.linear_1 = nn.Linear(channels, width)
        self.linear_2 = nn.Linear(width, width)

    def waves(self, t: Tensor) -> Tensor:
        """Times [B], whole or not -> [B, channels]."""
        sines, cosines = timestep_embedding(t, self.channels).chunk(2, dim=1)
        return torch.cat([cosines, sines], dim=1)

    def forward(self, t: Tensor) -> Tensor:
        """Times [B], whole or not -> embeddings [B, width]."""
        waves = self.waves(t).to(self.linear_1.weight.dtype)
        out: Tensor = self.linear_2(F.silu(self.linear_1(waves)))
        return out
