"""The motion module: attention along time at every position, over motion frames too if given."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.lightning.dfa import FULL_ATTENTION, ForegroundAttention
from models.sd15.attention import Attention, FeedForward

GROUPS = 32  # of a motion module's norm, whatever the network's other norms have


class PositionTable(nn.Module):
    """Sines in even and cosines in odd channels, a buffer ``pe`` [1, length, C] of the weights."""

    pe: Tensor

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        position = torch.arange(length, dtype=torch.float32)[:, None]
        rates = torch.exp(torch.arange(0, channels, 2) * (-math.log(10_000.0) / channels))
        table = torch.zeros(1, length, channels)
        table[0, :, 0::2] = torch.sin(position * rates)
        table[0, :, 1::2] = torch.cos(position * rates)
        self.register_buffer("pe", table)

    def forward(self, x: Tensor) -> Tensor:
        """[..., F, C] -> the same with positions 0 .. F - 1 added."""
        return x + self.pe[0, : x.shape[-2]]


class MotionAttention(Attention):
    """Softmax attention along time; motion frames come first and count as positions."""

    def __init__(self, channels: int, heads: int, length: int) -> None:
        super().__init__(channels, heads)
        self.pos_encoder = PositionTable(channels, length)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """[N, F, C] -> [N, F, C], every frame attending to all."""
        h = self.pos_encoder(x)
        return super().forward(h, self.project(h))


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
        """The only block."""
        block = self.transformer_blocks[0]
        assert isinstance(block, MotionBlock)
        return block

    def to_tokens(self, x: Tensor) -> Tensor:
        """Folded maps [N, C, H, W] -> tokens [N, H W, C]."""
        tokens: Tensor = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))
        return tokens

    def to_map(self, tokens: Tensor, x: Tensor) -> Tensor:
        """Tokens [N, H W, C] and the input [N, C, H, W] -> the output, residual added."""
        h = self.proj_out(tokens).transpose(1, 2).reshape(x.shape)
        out: Tensor = h + x
        return out


class MotionModule(nn.Module):
    """The published module of softmax attention (AnimateDiff's v2 form).

    Args:
        channels: of the map; heads: of both attentions; length: of the position table.
    """

    def __init__(self, channels: int, heads: int, length: int) -> None:
        super().__init__()
        self.temporal_transformer = TemporalTransformer(
            channels, lambda: MotionAttention(channels, heads, length)
        )

    def forward(
        self,
        x: Tensor,
        frames: int,
        motion_frames: Tensor | None = None,
        *,
        dfa: ForegroundAttention = FULL_ATTENTION,
    ) -> Tensor:
        """Attend along time.

        Args:
            x: folded maps [N, C, H, W], N = clips * frames.
            frames: F of each clip.
            motion_frames: maps of earlier frames [clips, P, C, H, W], put in front of the F frames
                as one sequence; their outputs are dropped.
            dfa: which tokens the attentions run over.
        """
        transformer = self.temporal_transformer
        if motion_frames is not None:
            whole = torch.cat([motion_frames, x.view(-1, frames, *x.shape[1:])], dim=1)
            x, frames = whole.flatten(0, 1), whole.shape[1]
        tokens = transformer.to_tokens(x)
        block = transformer.block
        for k, (attention, norm) in enumerate(
            zip(block.attention_blocks, block.norms, strict=True)
        ):
            h = dfa.select(norm(tokens))
            h = to_frames(attention(to_sequences(h, frames)), h.shape[1])
            tokens = tokens + dfa.merge(f"motion{k}", h)
        tokens = tokens + block.ff(block.ff_norm(tokens))
        out = transformer.to_map(tokens, x)
        if motion_frames is None:
            return out
        clips = out.view(-1, frames, *out.shape[1:])
        return clips[:, motion_frames.shape[1] :].flatten(0, 1)


def to_sequences(tokens: Tensor, frames: int) -> Tensor:
    """Tokens frame by frame [B * F, L, C] -> along time [B * L, F, C]."""
    length, channels = tokens.shape[1:]
    clips = tokens.view(-1, frames, length, channels)
    return clips.transpose(1, 2).reshape(-1, frames, channels)


def to_frames(sequences: Tensor, length: int) -> Tensor:
    """Along time [B * L, F, C] -> frame by frame [B * F, L, C], L being ``length``."""
    clips = sequences.view(-1, length, *sequences.shape[1:])
    return clips.transpose(1, 2).flatten(0, 1)
