"""Attention and the spatial transformer of Stable Diffusion 1.5, on tokens [N, L, C].

The transformer has self-attention that may also read a reference, cross-attention, and a gated
feed-forward; parameters have their published names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.lightning.dfa import FULL_ATTENTION, FaceTokens, ForegroundAttention
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

    def forward(self, x: Tensor, *contexts: KeyValue, key_mask: Tensor | None = None) -> Tensor:
        """Tokens [N, L, C] attend to the keys of all ``contexts`` together -> [N, L, C].

        Args:
            key_mask: which keys count, bool [N, 1, 1, all keys]; None: all.
        """
        query = split_heads(self.to_q(x), self.heads)
        key, value = (
            fields[0] if len(fields) == 1 else torch.cat(fields, dim=2)
            for fields in zip(*contexts, strict=True)
        )
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=key_mask)
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


@dataclass(frozen=True)
class ReferenceKV:
    """What the rows of one self-attention read besides themselves.

    Attributes:
        kv: reference keys and values [R, heads, M, d], projected once.
        rows: which reference each conditional row reads, int64 [N - num_uncond].
        num_uncond: the first so many rows are unconditional and read nothing.
    """

    kv: KeyValue
    rows: Tensor
    num_uncond: int = 0

    def attend(self, attention: Attention, x: Tensor, face: FaceTokens | None) -> Tensor:
        """Unconditional rows attend to themselves, the others to themselves and their reference.

        Args:
            x: tokens [N, L, C]; face: which they are, None for all.
        """
        own = None if face is None else face.key_mask(len(x))
        both = None if face is None else face.key_mask(len(x), copies=2)
        uncond, rest = x[: self.num_uncond], x[self.num_uncond :]
        key_mask = None if both is None else both[self.num_uncond :]
        cond: Tensor = attention(
            rest, attention.project(rest), self._select(face, len(x)), key_mask=key_mask
        )
        if not len(uncond):
            return cond
        key_mask = None if own is None else own[: self.num_uncond]
        return torch.cat([attention(uncond, attention.project(uncond), key_mask=key_mask), cond])

    def _select(self, face: FaceTokens | None, batch_frames: int) -> KeyValue:
        """What each conditional row out of ``batch_frames`` reads; the face's tokens if given."""
        key, value = (part.index_select(0, self.rows) for part in self.kv)
        if face is None:
            return KeyValue(key, value)
        by_row = face.index.repeat_interleave(batch_frames // len(face.index), 0)
        index = by_row[self.num_uncond :, None, :, None]
        return KeyValue(*(torch.take_along_dim(part, index, dim=2) for part in (key, value)))


def self_attention(
    attention: Attention, x: Tensor, face: FaceTokens | None, reference: ReferenceKV | None = None
) -> Tensor:
    """Self-attention of tokens [N, L, C], those of the ``face`` if given, and of the reference."""
    if reference is not None:
        return reference.attend(attention, x, face)
    key_mask = None if face is None else face.key_mask(len(x))
    out: Tensor = attention(x, attention.project(x), key_mask=key_mask)
    return out


class SpatialBlock(nn.Module):
    """norm1, attn1 with reference; norm2, attn2 (if there is a context); norm3, ff.

    Args:
        inner: width of the tokens; heads: of every attention; context: width of what ``attn2``
            attends to, None for no cross-attention.
        gain: factor of the cross-attention's output, its bias included.
    """

    def __init__(self, inner: int, heads: int, context: int | None, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain
        self.norm1 = nn.LayerNorm(inner)
        self.attn1 = Attention(inner, heads)
        self.norm2 = None if context is None else nn.LayerNorm(inner)
        self.attn2 = None if context is None else Attention(inner, heads, context)
        self.norm3 = nn.LayerNorm(inner)
        self.ff = FeedForward(inner)

    def forward(
        self,
        x: Tensor,
        reference: ReferenceKV | None = None,
        context: KeyValue | None = None,
        *,
        dfa: ForegroundAttention = FULL_ATTENTION,
        hook: Callable[[Tensor], None] | None = None,
    ) -> Tensor:
        """Tokens [N, L, C] -> [N, L, C].

        Args:
            reference: what self-attention reads as well.
            context: projected keys and values of the cross-attention, batch N.
            dfa: which tokens self-attention runs over.
            hook: is given ``norm1``'s output, what a reference network is run for.
        """
        h = self.norm1(x)
        if hook:
            hook(h)
        h = self_attention(self.attn1, dfa.select(h), dfa.face_tokens, reference)
        x = x + dfa.merge("attn1", h)
        if self.attn2 is not None and self.norm2 is not None and context is not None:
            h = self.attn2(self.norm2(x), context)
            x = x + (h if self.gain == 1.0 else self.gain * h)
        out: Tensor = x + self.ff(self.norm3(x))
        return out


class TokenTransformer(nn.Module):
    """What surrounds a block of tokens: group norm, 1x1 convolution in and out, residual.

    Args:
        channels: of the map; inner: of the tokens; block: what runs on tokens [N, H W, inner].
    """

    def __init__(self, channels: int, inner: int, block: nn.Module, groups: int = 32) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, inner, 1)
        self.transformer_blocks = nn.ModuleList([block])
        self.proj_out = nn.Conv2d(inner, channels, 1)

    def to_tokens(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> tokens [N, H W, inner]."""
        tokens: Tensor = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        return tokens

    def to_map(self, tokens: Tensor, x: Tensor) -> Tensor:
        """Tokens [N, H W, inner] and the input [N, C, H, W] -> the output, residual added."""
        height, width = x.shape[2:]
        h = tokens.transpose(1, 2).reshape(len(tokens), -1, height, width)
        out: Tensor = self.proj_out(h) + x
        return out


class SpatialTransformer(TokenTransformer):
    """A ``SpatialBlock`` on maps."""

    def __init__(
        self,
        channels: int,
        heads: int,
        context: int | None,
        *,
        groups: int = 32,
        gain: float = 1.0,
    ) -> None:
        super().__init__(channels, channels, SpatialBlock(channels, heads, context, gain), groups)

    @property
    def block(self) -> SpatialBlock:
        """The only block."""
        block = self.transformer_blocks[0]
        assert isinstance(block, SpatialBlock)
        return block

    @property
    def cross_attention(self) -> Attention:
        """``attn2`` of a transformer that has one."""
        attention = self.block.attn2
        assert attention is not None
        return attention

    def forward(
        self,
        x: Tensor,
        reference: ReferenceKV | None = None,
        context: KeyValue | None = None,
        *,
        dfa: ForegroundAttention = FULL_ATTENTION,
        hook: Callable[[Tensor], None] | None = None,
    ) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]; see ``SpatialBlock``."""
        tokens = self.block(self.to_tokens(x), reference, context, dfa=dfa, hook=hook)
        return self.to_map(tokens, x)
