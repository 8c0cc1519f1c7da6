"""MEMO's motion module: linear attention along time, with a memory of earlier frames.

For each position and head (MEMO's notes, section 5), with q, k, v of this clip's F frames and
k', v' of n motion frames:

    Q = softmax(q over channels) / sqrt(d)    K = softmax(k over frames)    w_j = 0.9^(n - 1 - j)
    KV' = sum_j (w_j K'_j)(w_j v'_j)^T        Z' = sum_j w_j K'_j           (what a clip writes)
    KV = 0.9^n KV + KV'                       Z = 0.9^n Z + Z'              (after earlier clips)
    out = Q (0.9 KV + K^T V) / max(Q (0.9 Z + sum K)^T, 1e-10)

The memory depends on motion frames and weights alone, not on the noisy latents or the step: it is
written once for a clip and read at every step. Positions are added to this clip's frames only.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.lightning.dfa import FULL_ATTENTION, ForegroundAttention
from models.nn.attention import split_heads
from models.sd15.attention import Attention
from models.sd15.motion_module import (
    PositionTable,
    TemporalTransformer,
    to_frames,
    to_sequences,
)

DECAY = 0.9
SMALLEST = 1e-10


class Memory(NamedTuple):
    """What one attention remembers at every position: KV [clips, L, heads, d, d], Z [.., 1, d]."""

    kv: Tensor
    z: Tensor

    def add(self, new: Memory, frames: int) -> Memory:
        """This memory, faded, plus what a clip writes of ``frames`` motion frames."""
        fade = DECAY**frames
        return Memory(fade * self.kv + new.kv, fade * self.z + new.z)

    def select(self, index: Tensor) -> Memory:
        """The memory of the tokens at positions [clips, K] alone."""
        index = index.expand(len(self.kv), -1)[:, :, None, None, None]
        return Memory(*(torch.take_along_dim(part, index, dim=1) for part in self))


Memories = Mapping[str, tuple[Memory, Memory]]
"""By path of the motion module, of its two attentions."""


class MemoryAttention(Attention):
    """Linear attention along time."""

    def __init__(self, channels: int, heads: int, length: int) -> None:
        super().__init__(channels, heads)
        self.pos_encoder = PositionTable(channels, length)

    def write(self, motion_frames: Tensor) -> Memory:
        """Normalised motion frames [clips, L, n, C] -> what they write, KV' and Z'."""
        clips, length, frames = motion_frames.shape[:3]
        rows = motion_frames.flatten(0, 1)
        key = split_heads(self.to_k(rows), self.heads).softmax(dim=2)  # [N, heads, n, d]
        value = split_heads(self.to_v(rows), self.heads)
        ages = torch.arange(frames - 1, -1, -1, device=motion_frames.device)
        weight = (DECAY**ages).to(motion_frames.dtype)[:, None]
        kv = (weight * key).transpose(-1, -2) @ (weight * value)
        z = (weight * key).sum(dim=2, keepdim=True)
        return Memory(*(part.unflatten(0, (clips, length)) for part in (kv, z)))  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor, memory: Memory) -> Tensor:  # type: ignore[override]
        """Normalised tokens [clips * L, F, C] and their positions' memory -> the same shape."""
        h = self.pos_encoder(x)
        query = split_heads(self.to_q(h), self.heads).softmax(dim=-1)
        query = query * query.shape[-1] ** -0.5
        key = split_heads(self.to_k(h), self.heads).softmax(dim=2)
        value = split_heads(self.to_v(h), self.heads)
        kv = DECAY * memory.kv.flatten(0, 1) + key.transpose(-1, -2) @ value
        z = DECAY * memory.z.flatten(0, 1) + key.sum(dim=2, keepdim=True)
        out = (query @ kv) / (query @ z.transpose(-1, -2)).clamp(min=SMALLEST)
        merged: Tensor = self.to_out[0](out.transpose(1, 2).flatten(2))
        return merged


class MemoryModule(nn.Module):
    """The motion module of published names around two ``MemoryAttention``."""

    def __init__(self, channels: int, heads: int, length: int) -> None:
        super().__init__()
        make = partial(MemoryAttention, channels, heads, length)
        self.temporal_transformer = TemporalTransformer(channels, make)

    def write(self, motion_frames: Tensor) -> tuple[Memory, Memory]:
        """Maps of motion frames [clips, n, C, H, W] -> what they write to both attentions.

        They enter as this clip's frames do and are not updated between the attentions.
        """
        transformer = self.temporal_transformer
        frames = motion_frames.shape[1]
        tokens = transformer.to_tokens(motion_frames.flatten(0, 1))
        clips = tokens.view(-1, frames, *tokens.shape[1:]).transpose(1, 2)  # [clips, L, n, C]
        block = transformer.block
        first, second = (
            attention.write(norm(clips))
            for attention, norm in zip(self.attentions, block.norms, strict=True)
        )
        return first, second

    def forward(
        self,
        x: Tensor,
        frames: int,
        memories: tuple[Memory, Memory],
        *,
        dfa: ForegroundAttention = FULL_ATTENTION,
    ) -> Tensor:
        """Folded maps [clips * F, C, H, W] -> the same shape, reading the memory."""
        transformer = self.temporal_transformer
        tokens = transformer.to_tokens(x)
        block = transformer.block
        for k, (attention, norm) in enumerate(zip(self.attentions, block.norms, strict=True)):
            memory = memories[k]
            if dfa.face_tokens is not None:
                memory = memory.select(dfa.face_tokens.index)
            h = dfa.select(norm(tokens))
            h = to_frames(attention(to_sequences(h, frames), memory), h.shape[1])
            tokens = tokens + dfa.merge(f"motion{k}", h)
        tokens = tokens + block.ff(block.ff_norm(tokens))
        return transformer.to_map(tokens, x)

    @property
    def attentions(self) -> list[MemoryAttention]:
        """Both attentions, in order."""
        blocks = self.temporal_transformer.block.attention_blocks
        return [block for block in blocks if isinstance(block, MemoryAttention)]
