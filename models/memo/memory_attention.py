"""MEMO's motion module: linear attention along time, with a memory of earlier frames.

For each place and head (MEMO's notes, section 5), with q, k, v of this clip's F frames and k', v'
of n past frames:

    Q = softmax(q over channels) / sqrt(d)    K = softmax(k over frames)    w_j = 0.9^(n - 1 - j)
    KV' = sum_j (w_j K'_j)(w_j v'_j)^T        Z' = sum_j w_j K'_j           (what a clip writes)
    KV = 0.9^n KV + KV'                       Z = 0.9^n Z + Z'              (after earlier clips)
    out = Q (0.9 KV + K^T V) / max(Q (0.9 Z + sum K)^T, 1e-10)

The memory depends on past frames and weights alone, not on the noisy latents or the step: it is
written once for a clip and read at every step. Positions are added to this clip's frames only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.lightning.dfa import FaceTokens
from models.lightning.focus import EVERYWHERE, Focus
from models.nn.attention import split_heads
from models.sd15.attention_base import Attention
from models.sd15.motion_module import PositionTable, TemporalTransformer, along_time

DECAY = 0.9
SMALLEST = 1e-10


class Memory(NamedTuple):
    """What one attention remembers at every place: KV [clips, L, heads, d, d], Z [.., 1, d]."""

    kv: Tensor
    z: Tensor

    def after(self, new: Memory, frames: int) -> Memory:
        """This memory, faded, with what a clip of ``frames`` past frames writes."""
        fade = DECAY**frames
        return Memory(fade * self.kv + new.kv, fade * self.z + new.z)

    def at(self, foreground: Tensor | None) -> Memory:
        """The memory of face tokens [clips, K] alone, if given."""
        if foreground is None:
            return self
        index = foreground.expand(len(self.kv), -1)[:, :, None, None, None]
        return Memory(*(torch.take_along_dim(part, index, dim=1) for part in self))


Memories = Mapping[str, tuple[Memory, Memory]]
"""By path of the motion module, of its two attentions."""


class MemoryAttention(Attention):
    """Linear attention along time."""

    def __init__(self, channels: int, heads: int, length: int) -> None:
        super().__init__(channels, heads)
        self.pos_encoder = PositionTable(channels, length)

    def write(self, past: Tensor) -> Memory:
        """Normalised past frames [clips, L, n, C] -> what they write, KV' and Z'."""
        clips, places, frames = past.shape[:3]
        rows = past.flatten(0, 1)
        key = split_heads(self.to_k(rows), self.heads).softmax(dim=2)  # [N, heads, n, d]
        value = split_heads(self.to_v(rows), self.heads)
        ages = torch.arange(frames - 1, -1, -1, device=past.device)
        weight = (DECAY**ages).to(past.dtype)[:, None]
        kv = (weight * key).transpose(-1, -2) @ (weight * value)
        z = (weight * key).sum(dim=2, keepdim=True)
        return Memory(*(part.unflatten(0, (clips, places)) for part in (kv, z)))  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor, memory: Memory) -> Tensor:  # type: ignore[override]
        """Normalised tokens [clips * L, F, C] and the memory of their places -> the same shape."""
        placed = self.pos_encoder(x)
        query = split_heads(self.to_q(placed), self.heads).softmax(dim=-1)
        query = query * query.shape[-1] ** -0.5
        key = split_heads(self.to_k(placed), self.heads).softmax(dim=2)
        value = split_heads(self.to_v(placed), self.heads)
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

    def write(self, past: Tensor) -> tuple[Memory, Memory]:
        """Maps of past frames [clips, n, C, H, W] -> what they write to both attentions.

        They enter as this clip's frames do and are not updated between the attentions.
        """
        inner = self.temporal_transformer
        frames = past.shape[1]
        tokens = inner.enter(past.flatten(0, 1))
        clips = tokens.view(-1, frames, *tokens.shape[1:]).transpose(1, 2)  # [clips, L, n, C]
        first, second = (
            attention.write(norm(clips)) for attention, norm in zip(*self._parts(), strict=True)
        )
        return first, second

    def forward(
        self,
        x: Tensor,
        frames: int,
        memories: tuple[Memory, Memory],
        *,
        focus: Focus = EVERYWHERE,
    ) -> Tensor:
        """Folded maps [clips * F, C, H, W] -> the same shape, reading the memory."""
        inner = self.temporal_transformer
        tokens = inner.enter(x)
        for k, (attention, norm) in enumerate(zip(*self._parts(), strict=True)):
            compute = partial(_attend, frames=frames, attention=attention, memory=memories[k])
            tokens = tokens + focus.run(f"motion{k}", norm(tokens), compute)
        tokens = tokens + inner.block.ff(inner.block.ff_norm(tokens))
        return inner.leave(tokens, x)

    def _parts(self) -> tuple[list[MemoryAttention], list[Callable[[Tensor], Tensor]]]:
        block = self.temporal_transformer.block
        attentions = [a for a in block.attention_blocks if isinstance(a, MemoryAttention)]
        return attentions, list(block.norms)


def _attend(
    tokens: Tensor,
    face: FaceTokens | None,
    *,
    frames: int,
    attention: MemoryAttention,
    memory: Memory,
) -> Tensor:
    """Along time at all places, or at those of the foreground."""
    here = memory.at(None if face is None else face.index)
    return along_time(tokens, None, frames=frames, attention=lambda rows: attention(rows, here))
