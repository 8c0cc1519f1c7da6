"""Foreground attention (DFA): choose face tokens, put results back among cached background ones.

arXiv 2509.00052, section on decoupled foreground attention; the mask comes from the portrait, the
index tensors are made once per identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FaceTokens:
    """Which tokens are the face's.

    Attributes:
        index: [B, K], of B clips.
        padding: where an index only repeats the one before it, so that clips of fewer face tokens
            share a batch with others: bool [B, K]; None if it never does.
    """

    index: Tensor
    padding: Tensor | None = None

    def keys(self, rows: int, times: int = 1) -> Tensor | None:
        """Which keys of ``rows`` folded frames count, bool [rows, 1, 1, times * K]; None: all.

        A key that stands twice would weigh twice in a softmax.

        Args:
            times: how often the face's tokens stand in a row's keys.
        """
        if self.padding is None:
            return None
        counts = ~self.padding.repeat_interleave(rows // len(self.padding), 0)
        return counts.repeat(1, times)[:, None, None]


def token_indices(mask: Tensor, *, threshold: float = 0.1, multiple: int = 16) -> Tensor:
    """Indices of face tokens, int64 [1, K], K rounded up to ``multiple`` for few static shapes.

    Padding repeats the last index. ``mask`` is [H, W] at the layer's resolution, in [0, 1].
    An empty mask gives every token: nothing is known about the background.
    """
    chosen = (mask.flatten() > threshold).nonzero()[:, 0]
    if len(chosen) == 0:
        chosen = torch.arange(mask.numel(), device=mask.device)
    padding = min(-len(chosen) % multiple, mask.numel() - len(chosen))
    return torch.cat([chosen, chosen[-1:].expand(padding)])[None]


def pad_and_stack(foregrounds: Sequence[Tensor | None]) -> Tensor | None:
    """Foregrounds [B_i, K_i] of a batch of identities -> [sum B_i, max K_i]; None if one is None.

    Padding repeats the last index: attention treats query tokens one by one, so a repeated token
    only writes the same result twice. Where face tokens are keys too, ``stack_padding`` says
    which of them do not count.
    """
    present = [f for f in foregrounds if f is not None]
    if len(present) != len(foregrounds):
        return None
    longest = max(f.shape[1] for f in present)
    padded = [torch.cat([f, f[:, -1:].expand(-1, longest - f.shape[1])], dim=1) for f in present]
    return torch.cat(padded)


def stack_padding(faces: Sequence[FaceTokens]) -> Tensor | None:
    """What ``pad_and_stack`` adds to these, and what was padding before: bool [sum B_i, max K_i].

    None if nothing is.
    """
    longest = max(face.index.shape[1] for face in faces)
    if all(f.padding is None and f.index.shape[1] == longest for f in faces):
        return None
    padded = []
    for face in faces:
        before = face.padding
        if before is None:
            before = torch.zeros_like(face.index, dtype=torch.bool)
        added = before.new_ones(len(before), longest - before.shape[1])
        padded.append(torch.cat([before, added], dim=1))
    return torch.cat(padded)


def select(tokens: Tensor, foreground: Tensor) -> Tensor:
    """Rows of [B * F, L, C] named by [B, K] -> [B * F, K, C]."""
    if foreground.shape[0] == 1:
        return tokens.index_select(1, foreground[0])
    frames = tokens.shape[0] // foreground.shape[0]
    index = foreground.repeat_interleave(frames, 0)[..., None]
    return torch.take_along_dim(tokens, index, dim=1)


def merge(background: Tensor, face: Tensor, foreground: Tensor) -> Tensor:
    """A copy of ``background`` [B * F, L, C] with the rows ``foreground`` replaced by ``face``."""
    out = background.clone()
    if foreground.shape[0] == 1:
        return out.index_copy_(1, foreground[0], face)
    frames = background.shape[0] // foreground.shape[0]
    index = foreground.repeat_interleave(frames, 0)[..., None].expand_as(face)
    return out.scatter_(1, index, face)
