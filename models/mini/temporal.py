"""Temporal attention: each place of the picture looks at itself in the chunk's other frames."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.nn.attention import attend


class TemporalAttention(nn.Module):
    """Pre-norm self-attention along time with learned frame positions; residual not added.

    Sequences are a few frames long and there are thousands of them. ``fuse`` prepares a fast form
    of the same attention for inference, made of products over whole maps instead of thousands of
    tiny matrices.
    """

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
        self.register_buffer("fused_qkv", None, persistent=False)
        self.register_buffer("fused_position", None, persistent=False)
        self.register_buffer("head_sum", None, persistent=False)
        self.fused_qkv: Tensor | None
        self.fused_position: Tensor | None
        self.head_sum: Tensor | None

    @torch.no_grad()
    def fuse(self) -> None:
        """Multiply norm, positions and the 1 / sqrt(d) into the projection; after loading."""
        channels = self.to_qkv.in_features
        width = channels // self.heads
        weight = self.to_qkv.weight.float()
        position = (self.norm.bias.float() + self.position.float()) @ weight.T  # [F, 1, 3C]
        weight = (weight * self.norm.weight.float()).T.contiguous()  # [C, 3C]
        for scaled in (weight, position):
            scaled[..., :channels] *= width**-0.5
        dtype = self.to_qkv.weight.dtype
        self.fused_qkv, self.fused_position = weight.to(dtype), position.to(dtype)
        self.head_sum = torch.eye(self.heads, dtype=dtype, device=weight.device).repeat_interleave(
            width, dim=0
        )

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Tokens [B * F, L, C] -> what attention adds to them, [B * F, L, C]."""
        if self.fused_qkv is not None and self.fused_position is not None:
            return self._fused(x, self.fused_qkv, self.fused_position[:frames])
        tokens, channels = x.shape[1:]
        h = self.norm(x).view(-1, frames, tokens, channels) + self.position[:frames]
        qkv = self.to_qkv(h).transpose(1, 2)  # [B, L, F, 3C]
        q, k, v = qkv.reshape(-1, frames, 3, self.heads, channels // self.heads).permute(
            2, 0, 3, 1, 4
        )
        out: Tensor = self.to_out(attend(q, k, v))  # [B * L, F, C]
        return out.view(-1, tokens, frames, channels).transpose(1, 2).reshape(x.shape)

    def _fused(self, x: Tensor, weight: Tensor, position: Tensor) -> Tensor:
        """The same, for all F x F pairs of frames at once: products run along the whole map."""
        assert self.head_sum is not None
        (tokens, channels), frames = x.shape[1:], position.shape[0]
        n = F.layer_norm(x, (channels,), eps=self.norm.eps)
        clips = n.shape[0] // frames
        position = position if clips == 1 else position.repeat(clips, 1, 1)
        qkv = torch.baddbmm(position, n, weight.expand(n.shape[0], -1, -1))
        q, k, v = qkv.view(clips, frames, tokens, 3 * channels).chunk(3, dim=-1)
        # [B, F of keys, F of queries, L, C]: multiplied channel by channel, summed within each head
        pairs = q[:, None] * k[:, :, None]
        logits = F.linear(pairs.view(-1, channels), self.head_sum.T)
        weights = torch.softmax(logits.view(clips, frames, -1), dim=1)
        spread = F.linear(weights.view(-1, self.heads), self.head_sum).view(pairs.shape)
        out = spread[:, 0] * v[:, 0, None]
        for g in range(1, frames):
            out.addcmul_(spread[:, g], v[:, g, None])
        added: Tensor = self.to_out(out)
        return added.view(x.shape)
