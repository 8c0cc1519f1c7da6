"""The motion module: attention along time at each place, with past frames if there are any."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from models.lightning.dfa import FaceTokens
from models.lightning.focus import EVERYWHERE, Focus
from models.sd15.attention_base import Attention, FeedForward

GROUPS = 32  # of a motion module's norm, whatever the network's other norms have


class PositionTable(nn.Module):
    """Sines in even and cosines in odd channels, a buffer ``pe`` [1, length, C] of the weights."""

    pe: Tensor

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        place = torch.arange(length, dtype=torch.float32)[:, None]
        rates = torch.exp(torch.arange(0, channels, 2) * (-math.log(10_000.0) / channels))
        table = torch.zeros(1, length, channels)
        table[0, :, 0::2] = torch.sin(place * rates)
        table[0, :, 1::2] = torch.cos(place * rates)
        self.register_buffer("pe", table)

    def forward(self, x: Tensor) -> Tensor:
        """[..., F, C] -> the same with positions 0 .. F - 1 added."""
        return x + self.pe[0, : x.shape[-2]]


class TemporalAttention(Attention):
    """Softmax attention along time; past frames come first and count as positions."""

    def __init__(self, channels: int, heads: int, length: int) -> None:
        super().__init__(channels, heads)
        self.pos_encoder = PositionTable(channels, length)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """[N, F, C] -> [N, F, C], every frame attending to all."""
        placed = self.pos_encoder(x)
        return super().forward(placed, self.project(placed))


class MotionBlock(nn.Module):
    """Two attentions along time, each after its norm, and a feed-forward."""

    def __init__(self, channels: int, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList([make(), make()])
        self.norms = nn.ModuleList([nn.LayerNorm(channels), nn.LayerNorm(channels)])
        self.ff = FeedForward(channels)
        self.ff_norm = nn.LayerNorm(channels)


class TemporalTransformer(nn.Module):
    """Group norm per frame, linear layers in and out, one ``MotionBlock``; published names."""

    def __init__(self, channels: int, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList([MotionBlock(channels, make)])
        self.proj_out = nn.Linear(channels, channels)

    @property
    def block(self) -> MotionBlock:
        """The one block."""
        block = self.transformer_blocks[0]
        assert isinstance(block, MotionBlock)
        return block

    def enter(self, x: Tensor) -> Tensor:
        """Folded maps [N, C, H, W] -> tokens [N, H W, C]."""
        tokens: Tensor = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))
        return tokens

    def leave(self, tokens: Tensor, x: Tensor) -> Tensor:
        """Tokens [N, H W, C] and the input [N, C, H, W] -> the output, residual added."""
        back = self.proj_out(tokens).transpose(1, 2).reshape(x.shape)
        out: Tensor = back + x
        return out


class MotionModule(nn.Module):
    """The published module of softmax attention (AnimateDiff's v2 form).

    Args:
        channels: of the map; heads: of both attentions; length: of the position table.
    """

    def __init__(self, channels: int, heads: int, length: int) -> None:
        super().__init__()
        self.temporal_transformer = TemporalTransformer(
            channels, lambda: TemporalAttention(channels, heads, length)
        )

    def forward(
        self, x: Tensor, frames: int, past: Tensor | None = None, *, focus: Focus = EVERYWHERE
    ) -> Tensor:
        """Attend along time.

        Args:
            x: folded maps [N, C, H, W], N = clips * frames.
            frames: F of each clip.
            past: maps of earlier frames [clips, P, C, H, W], put in front of the F frames as one
                sequence; their outputs are dropped.
            focus: where the attentions run.
        """
        inner = self.temporal_transformer
        if past is not None:
            whole = torch.cat([past, x.view(-1, frames, *x.shape[1:])], dim=1)
            x, frames = whole.flatten(0, 1), whole.shape[1]
        tokens = inner.enter(x)
        for k, (attention, norm) in enumerate(
            zip(inner.block.attention_blocks, inner.block.norms, strict=True)
        ):
            compute = partial(along_time, frames=frames, attention=attention)
            tokens = tokens + focus.run(f"motion{k}", norm(tokens), compute)
        tokens = tokens + inner.block.ff(inner.block.ff_norm(tokens))
        out = inner.leave(tokens, x)
        if past is None:
            return out
        clips = out.view(-1, frames, *out.shape[1:])
        return clips[:, past.shape[1] :].flatten(0, 1)


def along_time(
    tokens: Tensor, _: FaceTokens | None, *, frames: int, attention: Callable[[Tensor], Tensor]
) -> Tensor:
    """Run ``attention`` over time: tokens [B F, L, C] -> [B L, F, C] and back."""
    length, channels = tokens.shape[1:]
    clips = tokens.view(-1, frames, length, channels)
    out = attention(clips.transpose(1, 2).reshape(-1, frames, channels))
    return out.view(-1, length, frames, channels).transpose(1, 2).reshape(tokens.shape)
