"""Attention and feed-forward of a Stable Diffusion transformer, on tokens [N, L, C]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.nn.attention import KeyValue, split_heads


class Attention(nn.Module):
    """Multi-head attention; queries, keys and values without bias, ``to_out.0`` with one.

    Args:
        channels: of queries and of the output.
        heads: number of heads (published configurations call it ``attention_head_dim``).
        context: channels of what is attended to; ``channels`` if None.
        inner: width of all heads together; ``channels`` if None.
    """

    def __init__(
        self, channels: int, heads: int, context: int | None = None, inner: int | None = None
    ) -> None:
        super().__init__()
        width = inner or channels
        if width % heads:
            raise ValueError(f"expected a width that divides into heads, got {width} and {heads}")
        self.heads = heads
        self.to_q = nn.Linear(channels, width, bias=False)
        self.to_k = nn.Linear(context or channels, width, bias=False)
        self.to_v = nn.Linear(context or channels, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, channels)])

    def project(self, context: Tensor) -> KeyValue:
        """Tokens [N, M, D] -> keys and values [N, heads, M, d], to be computed once."""
        return KeyValue(
            split_heads(self.to_k(context), self.heads), split_heads(self.to_v(context), self.heads)
        )

    def forward(self, x: Tensor, *contexts: KeyValue, counts: Tensor | None = None) -> Tensor:
        """Tokens [N, L, C] attend to the keys of all ``contexts`` together -> [N, L, C].

        Args:
            counts: which keys count, bool [N, 1, 1, all keys]; None: all.
        """
        query = split_heads(self.to_q(x), self.heads)
        key, value = (
            fields[0] if len(fields) == 1 else torch.cat(fields, dim=2)
            for fields in zip(*contexts, strict=True)
        )
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=counts)
        merged: Tensor = self.to_out[0](out.transpose(1, 2).flatten(2))
        return merged


class _Gated(nn.Module):
    """GEGLU: one linear layer gives values and gates; exact GELU."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        out: Tensor = value * F.gelu(gate)
        return out


class FeedForward(nn.Module):
    """C -> 4C, gated -> C; names ``net.0.proj`` and ``net.2``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = 4 * channels
        self.net = nn.Sequential(_Gated(channels, inner), nn.Identity(), nn.Linear(inner, channels))

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] -> [..., C]."""
        out: Tensor = self.net(x)
        return out
