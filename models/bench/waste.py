"""Redundant work of the published code, to count what it costs and to prove that ours is equal.

The published code projects the reference's keys and values again for every row of every call, and
computes attention with the reference for unconditional rows too, only to compute it again without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Self

import torch
from torch import Tensor

from models.echomimic.conditioning import EchoMimicConditioning
from models.hallo.conditioning import HalloConditioning
from models.lightning.dfa import FaceTokens
from models.memo.conditioning import MemoConditioning
from models.memo.unet import MemoUNet
from models.sd15.attention import Attention, ReferenceKV
from models.sd15.cfg import SD15Conditioning


@dataclass(frozen=True)
class RedundantReferenceKV(ReferenceKV):
    """Reads the reference like ``ReferenceKV``, in the published order.

    Attributes:
        rows: which reference each row reads, int64 [N], unconditional rows included.
        num_uncond: the first so many rows are computed a second time, without the reference.
        tokens: reference features [R, M, C], projected at every call.
    """

    tokens: Tensor = field(kw_only=True)

    def attend(self, attention: Attention, x: Tensor, face: FaceTokens | None) -> Tensor:
        """Self-attention with the reference for all rows, then without it for the first ones."""
        if face is not None:
            raise ValueError("the published code has no foreground attention; give all tokens")
        both = torch.cat([x, self.tokens.index_select(0, self.rows)], dim=1)
        out: Tensor = attention(x, attention.project(both))
        if self.num_uncond:
            uncond = x[: self.num_uncond]
            alone = attention(uncond, attention.project(uncond))
            out = torch.cat([alone, out[self.num_uncond :]])
        return out


@dataclass(frozen=True, kw_only=True)
class PublishedOrder(SD15Conditioning):
    """A conditioning whose reference is read in the published order.

    Attributes:
        tokens: reference features by path of the transformer.
    """

    tokens: Mapping[str, Tensor]

    @classmethod
    def of(cls, cond: SD15Conditioning, tokens: Mapping[str, Tensor]) -> Self:
        """The same conditioning, read in that order."""
        return cls(**{item.name: getattr(cond, item.name) for item in fields(cond)}, tokens=tokens)

    def reference(self, path: str) -> ReferenceKV:
        """All rows read it; the unconditional ones are computed again."""
        tokens = self.tokens[path]
        rows = self.reference_rows(tokens.device)
        return RedundantReferenceKV(self.reference_kv[path], rows, self.num_uncond, tokens=tokens)


@dataclass(frozen=True, kw_only=True)
class PublishedHallo(PublishedOrder, HalloConditioning):
    """Hallo's conditioning, read in the published order."""


@dataclass(frozen=True, kw_only=True)
class PublishedEchoMimic(PublishedOrder, EchoMimicConditioning):
    """EchoMimic's conditioning, read in the published order."""


@dataclass(frozen=True, kw_only=True)
class PublishedMemo(PublishedOrder, MemoConditioning):
    """MEMO's conditioning, read in the published order."""


def project_motion_frames(network: MemoUNet, motion_frames: Mapping[str, Tensor]) -> None:
    """What MEMO's published motion modules do with motion frames at every step besides attention:
    embed them, and project queries (never used), keys and values.

    Args:
        motion_frames: maps [num_branches, n, C, H, W] by path of the motion module.
    """
    for path, maps in motion_frames.items():
        module = network.motion_module(path)
        transformer = module.temporal_transformer
        tokens = transformer.to_tokens(maps.flatten(0, 1))
        for attention, norm in zip(module.attentions, transformer.block.norms, strict=True):
            normed = norm(tokens)
            attention.to_q(normed)
            attention.project(normed)
