"""Between the layouts of stored videos and the folded rows of our networks."""

from __future__ import annotations

from torch import Tensor


def fold(video: Tensor) -> Tensor:
    """[B, C, F, H, W] -> [B F, C, H, W]."""
    return video.transpose(1, 2).flatten(0, 1)


def unfold(rows: Tensor, stored: Tensor) -> Tensor:
    """[B F, C, H, W] -> the layout of ``stored`` [B, C, F, H, W]."""
    return rows.reshape(stored.shape[0], -1, *rows.shape[1:]).transpose(1, 2)


def like(seen: Tensor, stored: Tensor) -> Tensor:
    """What a module gave, in the layout in which it is stored."""
    if stored.dim() == 5:
        return unfold(seen, stored)
    if seen.shape != stored.shape and seen.dim() == 3:  # by place -> by frame
        return seen.transpose(0, 1)
    if seen.dim() == 2 and len(seen) == 1:  # the same for all rows
        return seen.expand_as(stored)
    return seen
