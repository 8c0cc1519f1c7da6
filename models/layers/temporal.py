"""Temporal attention: each place of the picture looks at itself in the other frames of the chunk."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.layers.attention import attend


class TemporalAttention(nn.Module):
    """Pre-norm self-attention along time with learned frame positions; residual not added."""

    def __init__(self, channels: int, heads: int, max_frames: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels must divide into heads, got {channels} and {heads}")
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.position = nn.Parameter(torch.randn(max_frames, 1, channels) * 0.2)
        self.to_qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.to_out = nn.Linear(channels, channels)
        nn.init.zeros_(self.to_out.weight)
        nn.init.zeros_(self.to_out.bias)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Tokens [B * F, L, C] -> what attention adds to them, [B * F, L, C]."""
        tokens, channels = x.shape[1:]
        h = self.norm(x).unflatten(0, (-1, frames)) + self.position[:frames]
        qkv = self.to_qkv(h).transpose(1, 2)  # [B, L, F, 3C]
        q, k, v = qkv.reshape(-1, frames, 3, self.heads, channels // self.heads).permute(
            2, 0, 3, 1, 4
        )
        out = self.to_out(attend(q, k, v))  # [B * L, F, C]
        return out.unflatten(0, (-1, tokens)).transpose(1, 2).reshape(x.shape)
