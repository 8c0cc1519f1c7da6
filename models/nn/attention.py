"""Attention whose keys and values are projected once and used at every step.

What a query attends to (reference features, audio tokens) does not change from one denoising step
to the next, so ``project`` is separate from ``forward``: the caller keeps the ``KeyValue``. For
inference ``fold`` goes further: with fixed keys and values the projections of queries and outputs
are part of fixed linear maps too, and attention is two matrix products around a softmax.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class KeyValue(NamedTuple):
    """Projected keys and values, each [B, heads, M, C / heads]."""

    key: Tensor
    value: Tensor


class Folded(NamedTuple):
    """Keys and values with the projections around them multiplied in, one row per head and key.

    logits = K (W_q n) / sqrt(d) = query n, and W_out (V^T weights) + b = value^T weights, where the
    output bias b is spread over the rows: within each head the weights sum to one.

    Attributes:
        query, value: [B, heads * M, C].
    """

    query: Tensor
    value: Tensor


Context = KeyValue | Folded
"""What tokens attend to; ``Folded`` is the fast form of the same."""


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[B, L, C] -> [B, heads, L, C / heads]."""
    return x.view(*x.shape[:2], heads, x.shape[2] // heads).transpose(1, 2)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v for [B, heads, L, d] queries; returns [B, L, heads * d].

    Plain matrix products: with heads this small they beat fused CPU attention by a third.
    """
    weights = torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2), dim=-1)
    return (weights @ v).transpose(1, 2).flatten(2)


class CrossAttention(nn.Module):
    """Pre-norm multi-head attention from tokens to a fixed context; the residual is not added."""

    def __init__(self, channels: int, context: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels must divide into heads, got {channels} and {heads}")
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_kv = nn.Linear(context, 2 * channels, bias=False)
        self.to_out = nn.Linear(channels, channels)
        nn.init.zeros_(self.to_out.weight)
        nn.init.zeros_(self.to_out.bias)

    def project(self, context: Tensor) -> KeyValue:
        """Context tokens [B, M, D] -> keys and values, to be computed once."""
        k, v = self.to_kv(context).chunk(2, dim=-1)
        return KeyValue(split_heads(k, self.heads), split_heads(v, self.heads))

    def fold(self, kv: KeyValue) -> Folded:
        """The fast form of a context, to be computed once; it holds no gradient."""
        channels = self.to_q.in_features
        width = channels // self.heads
        w_q = self.to_q.weight.detach().view(self.heads, width, channels)
        w_out = self.to_out.weight.detach().view(channels, self.heads, width).permute(1, 2, 0)
        query = (kv.key.detach() * width**-0.5) @ w_q
        value = kv.value.detach() @ w_out + self.to_out.bias.detach() / self.heads
        return Folded(query.flatten(1, 2), value.flatten(1, 2))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Tokens [B, L, C] -> what attention adds to them, [B, L, C]."""
        if isinstance(context, Folded):
            return self._folded(x, context)
        q = split_heads(self.to_q(self.norm(x)), self.heads)
        out: Tensor = self.to_out(attend(q, context.key, context.value))
        return out

    def _folded(self, x: Tensor, context: Folded) -> Tensor:
        """Tokens come last until the softmax is done: reducing over the outer axis is faster."""
        logits = torch.bmm(context.query, self.norm(x).transpose(1, 2))
        by_head = logits.view(logits.shape[0], self.heads, -1, logits.shape[2])
        weights = by_head.softmax(dim=2).view(logits.shape)
        return torch.bmm(weights.transpose(1, 2), context.value)


class ReferenceAttention(CrossAttention):
    """Every frame of a clip looks at the same reference tokens."""

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Tokens of all frames [B * F, L, C]; the context has batch B. Frames fold into queries."""
        clips = context[0].shape[0]
        folded = x.reshape(clips, -1, x.shape[-1])
        return super().forward(folded, context).reshape(x.shape)
