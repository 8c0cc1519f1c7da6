"""What ``mini`` is told beside latents and time: reference features, and a chunk's conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from models.lightning.dfa import pad_and_stack
from models.mini.prior import Prior
from models.nn.attention import Context

Fields = TypeVar("Fields", bound=tuple[Tensor, ...])


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
    def foreground(self) -> Tensor | None:
        """Face token indices [B, K], or None."""
        return self.reference.foreground

    def repeat(self, n: int) -> MiniConditioning:
        """The whole batch n times over, for light steps predicted in one batch."""
        return collate([self] * n)


def collate(conditions: Sequence[MiniConditioning]) -> MiniConditioning:
    """Concatenate along the batch; a foreground is kept when every condition has one."""
    if len(conditions) == 1:
        return conditions[0]
    references = [c.reference for c in conditions]
    maps = tuple(torch.cat(level) for level in zip(*(r.maps for r in references), strict=True))
    reference = Reference(
        tuple(identity_id for r in references for identity_id in r.identity_ids),
        _cat([r.anchor for r in references]),
        maps,
        torch.cat([r.places for r in references]),
        _cat_by_layer([r.kv for r in references]),
        pad_and_stack([r.foreground for r in references]),
    )
    vector = torch.cat([c.vector for c in conditions])
    kv = _cat_by_layer([c.audio_kv for c in conditions])
    drawn = torch.cat([c.drawn for c in conditions])
    return MiniConditioning(reference, vector, drawn, kv, conditions[0].frames)


def _cat(items: Sequence[Fields]) -> Fields:
    """Tuples of tensors, concatenated field by field."""
    kind: Any = type(items[0])
    joined: Fields = kind(*(torch.cat(field) for field in zip(*items, strict=True)))
    return joined


def _cat_by_layer(items: Sequence[dict[str, Context]]) -> dict[str, Context]:
    return {name: _cat([item[name] for item in items]) for name in items[0]}
