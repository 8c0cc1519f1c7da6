"""Decoupled foreground attention (DFA): light steps attend over face tokens alone.

arXiv 2509.00052, section on decoupled foreground attention. A key step runs attention over all
tokens and caches the outputs of each attention module of the last layer; light steps run it over
the face tokens, queries, keys and values, and put the results back among the cached outputs. The
mask comes from the portrait; the index tensors are computed once per identity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.lightning import pytree


@pytree.register
@dataclass(frozen=True)
class FaceTokens:
    """Which tokens are the face's, for B clips.

    Attributes:
        index: positions among the H * W tokens, int64 [B, K].
        padding: entries that only repeat the one before, so that clips with fewer face tokens share
            a batch with others, bool [B, K]; None if there are none.
    """

    index: Tensor
    padding: Tensor | None = None

    def repeat(self, n: int) -> FaceTokens:
        """The whole batch n times over."""
        padding = None if self.padding is None else self.padding.repeat(n, 1)
        return FaceTokens(self.index.repeat(n, 1), padding)

    def key_mask(self, batch_frames: int, copies: int = 1) -> Tensor | None:
        """Attention mask over keys, bool [batch_frames, 1, 1, copies * K]; None: all keys count.

        A key that is listed twice would weigh twice in a softmax.

        Args:
            batch_frames: N = B * F rows.
            copies: how often the face tokens appear among the keys of a row.
        """
        if self.padding is None:
            return None
        valid = ~self.padding.repeat_interleave(batch_frames // len(self.padding), 0)
        return valid.repeat(1, copies)[:, None, None]


@dataclass
class ForegroundAttention:
    """How the last layer's attention modules run in one network call.

    Attributes:
        face_tokens: where attention runs; None: over all tokens.
        background: outputs [N, H * W, C] that the key step cached, by module name; needed
            with ``face_tokens``.
        keep: whether outputs are put into ``outputs``.
        outputs: attention outputs of this call, by module name.
    """

    face_tokens: FaceTokens | None = None
    background: Mapping[str, Tensor] = field(default_factory=dict)
    keep: bool = False
    outputs: dict[str, Tensor] = field(default_factory=dict)

    def select(self, tokens: Tensor) -> Tensor:
        """The tokens that attention runs over: [N, L, C] -> [N, K, C], or all of them."""
        if self.face_tokens is None:
            return tokens
        return select(tokens, self.face_tokens.index)

    def merge(self, name: str, out: Tensor) -> Tensor:
        """The attention output at every token [N, L, C], from the one at the selected tokens."""
        if self.face_tokens is not None:
            return merge(self.background[name], out, self.face_tokens.index)
        if self.keep:
            self.outputs[name] = out
        return out


FULL_ATTENTION = ForegroundAttention()
"""Attention over all tokens, no outputs cached: every layer but the last."""


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


def pad_and_stack(faces: Sequence[FaceTokens | None]) -> FaceTokens | None:
    """Face tokens [B_i, K_i] of several clips -> [sum B_i, max K_i]; None if one of them is None.

    Padding repeats the last index. For queries that is harmless: attention treats them one by one,
    so a repeated token only writes the same result twice. Where face tokens are keys too,
    ``padding`` masks them.
    """
    known = [face for face in faces if face is not None]
    if len(known) != len(faces):
        return None
    longest = max(face.index.shape[1] for face in known)
    index = [
        torch.cat([f.index, f.index[:, -1:].expand(-1, longest - f.index.shape[1])], dim=1)
        for f in known
    ]
    if all(f.padding is None and f.index.shape[1] == longest for f in known):
        return FaceTokens(torch.cat(index))
    padding = []
    for face in known:
        own = face.padding
        if own is None:
            own = torch.zeros_like(face.index, dtype=torch.bool)
        added = own.new_ones(len(own), longest - own.shape[1])
        padding.append(torch.cat([own, added], dim=1))
    return FaceTokens(torch.cat(index), torch.cat(padding))


def select(tokens: Tensor, index: Tensor) -> Tensor:
    """Tokens [B * F, L, C] at positions [B, K] -> [B * F, K, C]."""
    if index.shape[0] == 1:
        return tokens.index_select(1, index[0])
    frames = tokens.shape[0] // index.shape[0]
    by_row = index.repeat_interleave(frames, 0)[..., None]
    return torch.take_along_dim(tokens, by_row, dim=1)


def merge(background: Tensor, face: Tensor, index: Tensor) -> Tensor:
    """A copy of ``background`` [B * F, L, C] with the tokens at ``index`` [B, K] replaced by
    ``face`` [B * F, K, C]."""
    out = background.clone()
    if index.shape[0] == 1:
        return out.index_copy_(1, index[0], face)
    frames = background.shape[0] // index.shape[0]
    by_row = index.repeat_interleave(frames, 0)[..., None].expand_as(face)
    return out.scatter_(1, by_row, face)
