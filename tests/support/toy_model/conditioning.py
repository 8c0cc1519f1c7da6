"""What a call of the toy denoiser is given beside latents and timestep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.lightning.dfa import FaceTokens


@dataclass(frozen=True)
class ToyConditioning:
    """Conditioning of B chunks of F frames.

    Attributes:
        identity_ids: content keys of the B identities.
        portrait: reference latents [B, C, H, W], from -1 to 1.
        loudness: RMS of every frame's sound [B, F].
        face_tokens: None: the toy has no attention.
    """

    identity_ids: tuple[str, ...]
    portrait: Tensor
    loudness: Tensor
    face_tokens: FaceTokens | None = None

    def repeat(self, n: int) -> ToyConditioning:
        """The whole batch n times over, for n light steps in one batch."""
        return collate_toy([self] * n)


def collate_toy(conditionings: Sequence[ToyConditioning]) -> ToyConditioning:
    """Join the conditioning of single chunks to that of their batch."""
    return ToyConditioning(
        tuple(name for one in conditionings for name in one.identity_ids),
        torch.cat([one.portrait for one in conditionings]),
        torch.cat([one.loudness for one in conditionings]),
    )
