"""The spatial transformer: self-attention that may also read a reference, cross-attention, MLP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from models.lightning.dfa import FaceTokens
from models.lightning.focus import EVERYWHERE, Focus
from models.nn.attention import KeyValue
from models.sd15.attention_base import Attention, FeedForward


class Reads(Protocol):
    """A way to read a reference in self-attention."""

    def attend(self, attention: Attention, n: Tensor, face: FaceTokens | None) -> Tensor:
        """Tokens [N, L, C], those of the ``face`` if given -> [N, L, C]."""
        ...


@dataclass(frozen=True)
class ReferenceKV:
    """What the rows of one self-attention read besides themselves.

    Attributes:
        bank: reference keys and values [R, heads, M, d], projected once.
        rows: which reference row each reading row takes, int64 [N - plain].
        plain: the first so many rows (unconditional ones) read nothing.
    """

    bank: KeyValue
    rows: Tensor
    plain: int = 0

    def attend(self, attention: Attention, n: Tensor, face: FaceTokens | None) -> Tensor:
        """Plain rows attend to themselves, the others to themselves and then their reference.

        Args:
            n: tokens [N, L, C]; face: which they are, None for all.
        """
        own = None if face is None else face.keys(len(n))
        both = None if face is None else face.keys(len(n), times=2)
        bare, rest = n[: self.plain], n[self.plain :]
        counts = None if both is None else both[self.plain :]
        read: Tensor = attention(
            rest, attention.project(rest), self._cut(face, len(n)), counts=counts
        )
        if not len(bare):
            return read
        counts = None if own is None else own[: self.plain]
        return torch.cat([attention(bare, attention.project(bare), counts=counts), read])

    def _cut(self, face: FaceTokens | None, rows: int) -> KeyValue:
        """What the reading rows out of ``rows`` read; of the face's tokens alone if given."""
        key, value = (part.index_select(0, self.rows) for part in self.bank)
        if face is None:
            return KeyValue(key, value)
        by_row = face.index.repeat_interleave(rows // len(face.index), 0)
        index = by_row[self.plain :, None, :, None]
        return KeyValue(*(torch.take_along_dim(part, index, dim=2) for part in (key, value)))


def attend_with_reference(
    attention: Attention, reading: Reads | None, n: Tensor, face: FaceTokens | None
) -> Tensor:
    """Self-attention of tokens [N, L, C], with what ``reading`` adds to it."""
    if reading is not None:
        return reading.attend(attention, n, face)
    return self_attention(attention, n, face)


def self_attention(attention: Attention, n: Tensor, face: FaceTokens | None) -> Tensor:
    """Self-attention of tokens [N, L, C], those of the ``face`` if given, and of nothing else."""
    counts = None if face is None else face.keys(len(n))
    out: Tensor = attention(n, attention.project(n), counts=counts)
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
        reading: Reads | None = None,
        context: KeyValue | None = None,
        *,
        focus: Focus = EVERYWHERE,
        tap: Callable[[Tensor], None] | None = None,
    ) -> Tensor:
        """Tokens [N, L, C] -> [N, L, C].

        Args:
            reading: the reference that self-attention reads as well.
            context: projected keys and values of the cross-attention, batch N.
            focus: where self-attention runs.
            tap: is given ``norm1``'s output, what a reference network is read for.
        """
        n = self.norm1(x)
        if tap:
            tap(n)
        x = x + focus.run("attn1", n, partial(attend_with_reference, self.attn1, reading))
        if self.attn2 is not None and self.norm2 is not None and context is not None:
            heard = self.attn2(self.norm2(x), context)
            x = x + (heard if self.gain == 1.0 else self.gain * heard)
        out: Tensor = x + self.ff(self.norm3(x))
        return out


class Wrapped(nn.Module):
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

    def enter(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> tokens [N, H W, inner]."""
        tokens: Tensor = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        return tokens

    def leave(self, tokens: Tensor, x: Tensor) -> Tensor:
        """Tokens [N, H W, inner] and the input [N, C, H, W] -> the output, residual added."""
        height, width = x.shape[2:]
        back = tokens.transpose(1, 2).reshape(len(tokens), -1, height, width)
        out: Tensor = self.proj_out(back) + x
        return out


class SpatialTransformer(Wrapped):
    """A ``SpatialBlock`` inside its wrapping."""

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
        """The one block."""
        block = self.transformer_blocks[0]
        assert isinstance(block, SpatialBlock)
        return block

    def forward(
        self,
        x: Tensor,
        reading: Reads | None = None,
        context: KeyValue | None = None,
        *,
        focus: Focus = EVERYWHERE,
        tap: Callable[[Tensor], None] | None = None,
    ) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]; see ``SpatialBlock``."""
        tokens = self.block(self.enter(x), reading, context, focus=focus, tap=tap)
        return self.leave(tokens, x)
