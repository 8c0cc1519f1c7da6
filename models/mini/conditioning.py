"""The conditioning of ``mini``: reference features of the portrait, and a chunk's conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.lightning.dfa import FaceTokens, pad_and_stack
from models.lightning.pytree import map_tensors, register
from models.mini.prior import Prior
from models.nn.attention import Context


@register
@dataclass(frozen=True)
class Reference:
    """Reference features of a batch of identities, computed once for each.

    Attributes:
        identity_ids: content keys.
        anchor: reference latent and sigma, each [B, 1, *, H, W].
        maps: features added after the first convolution of each resolution, [B, C_r, h, w].
        places: face coordinates (x, y) of every cell, [B, 2, H, W].
        kv: what every reference attention attends to, by layer name.
        foreground: indices of face tokens at full resolution [B, K], or None for everything.
    """

    identity_ids: tuple[str, ...]
    anchor: Prior
    maps: tuple[Tensor, ...]
    places: Tensor
    kv: dict[str, Context]
    foreground: Tensor | None = None


@register
@dataclass(frozen=True)
class MiniConditioning:
    """All that a network call needs beside latents and time, for B chunks of F frames.

    Attributes:
        reference: of the B identities.
        vector: condition embedding before time is added, [B, F, E].
        drawn: what is added after the very first convolution: the reference's map with the frame's
            conditions drawn into it, [B * F, C, H, W].
        audio_kv: what every audio attention attends to, by layer name, batch B * F.
        frames: F.
    """

    reference: Reference
    vector: Tensor
    drawn: Tensor
    audio_kv: dict[str, Context]
    frames: int

    @property
    def identity_ids(self) -> tuple[str, ...]:
        """Content keys of the identities, in batch order."""
        return self.reference.identity_ids

    @property
    def face_tokens(self) -> FaceTokens | None:
        """Where the face is, or None."""
        index = self.reference.foreground
        return None if index is None else FaceTokens(index)

    def repeat(self, n: int) -> MiniConditioning:
        """The whole batch n times over, for light steps predicted in one batch."""
        return collate([self] * n)


def collate(conditions: Sequence[MiniConditioning]) -> MiniConditioning:
    """Concatenate along the batch; a foreground is kept when every condition has one."""
    if len(conditions) == 1:
        return conditions[0]
    faces = pad_and_stack([c.face_tokens for c in conditions])
    whole = map_tensors(lambda *parts: torch.cat(parts), *map(_without_identities, conditions))
    reference = replace(
        whole.reference,
        identity_ids=tuple(key for c in conditions for key in c.identity_ids),
        foreground=None if faces is None else faces.index,
    )
    return replace(whole, reference=reference)


def _without_identities(cond: MiniConditioning) -> MiniConditioning:
    """Only what has the same form in every condition."""
    return replace(cond, reference=replace(cond.reference, identity_ids=(), foreground=None))
