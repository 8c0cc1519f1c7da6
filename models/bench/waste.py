"""The published order of work, to count what it costs and to prove that ours gives the same.

The published code projects the reference's keys and values again for every row of every call, and
computes attention with the reference for unconditional rows too, only to compute it again without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from models.lightning.dfa import FaceTokens
from models.memo.unet import MemoUNet
from models.sd15.attention_base import Attention


@dataclass(frozen=True)
class WastefulReading:
    """Reads like ``models.sd15.attention.Reading``, in the published order.

    Attributes:
        tokens: recorded features [R, M, C], projected at every call.
        rows: which of them each row takes, int64 [N], unconditional rows included.
        plain: the first so many rows are computed a second time, without the reference.
    """

    tokens: Tensor
    rows: Tensor
    plain: int = 0

    def attend(self, attention: Attention, n: Tensor, face: FaceTokens | None) -> Tensor:
        """Self-attention with the reference for all rows, then without it for the plain ones."""
        if face is not None:
            raise ValueError("the published code knows no foreground; give tokens of all places")
        both = torch.cat([n, self.tokens.index_select(0, self.rows)], dim=1)
        out: Tensor = attention(n, attention.project(both))
        if self.plain:
            bare = n[: self.plain]
            out = torch.cat([attention(bare, attention.project(bare)), out[self.plain :]])
        return out


def project_past(network: MemoUNet, past: Mapping[str, Tensor]) -> None:
    """What MEMO's published motion modules do with past frames at every step besides attention:
    enter them, and project queries (never used), keys and values.

    Args:
        past: maps of past frames [num_branches, n, C, H, W] by path of the motion module.
    """
    for path, maps in past.items():
        inner = network.motion(path).temporal_transformer
        tokens = inner.enter(maps.flatten(0, 1))
        for attention, norm in zip(inner.block.attention_blocks, inner.block.norms, strict=True):
            assert isinstance(attention, Attention)
            normed = norm(tokens)
            attention.to_q(normed)
            attention.project(normed)
