"""The feature cache: what a key step leaves for the light steps after it, and who may use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from models.errors import CacheError
from models.lightning import pytree


@pytree.register
@dataclass(frozen=True)
class FeatureCache:
    """What a key step leaves for the light steps that follow it.

    N = num_branches * B * F; with guidance the unconditional rows of the whole batch come first.

    Attributes:
        hidden: f_U31, hidden state entering the last layer U32, [N, C, H, W].
        background: U32's attention outputs at every token, [N, H * W, C], by module name; None
            when the sampler asked for no foreground attention.
        identity_ids: content keys of the identities in the batch, in order.
        num_branches: 2 with guidance, else 1.
        extra: what else the last layer takes from deeper ones, by name; first axis N.
        step: number of the key step.
    """

    hidden: Tensor
    background: Mapping[str, Tensor] | None
    identity_ids: tuple[str, ...]
    num_branches: int = 1
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    step: int = 0

    def repeat(self, n: int) -> FeatureCache:
        """The same cache for n light steps in one batch, in the same memory layout."""
        if n == 1:
            return self

        def tile(rows: Tensor) -> Tensor:
            branches = rows.chunk(self.num_branches)
            return torch.cat([branch for branch in branches for _ in range(n)])

        return replace(pytree.map_tensors(tile, self), identity_ids=self.identity_ids * n)

    def check(self, identity_ids: Sequence[str], z: Tensor) -> None:
        """Refuse a cache made for other identities or another shape of latents [B, C, F, H, W].

        Raises:
            CacheError: with both sides of the mismatch.
        """
        if self.identity_ids != tuple(identity_ids):
            raise CacheError(
                f"the cache was made for identities {self.identity_ids}, asked for"
                f" {tuple(identity_ids)}; run a key step first",
                code="stale_cache",
            )
        frames, size = self.num_branches * z.shape[0] * z.shape[2], z.shape[3:]
        if self.hidden.shape[0] != frames or self.hidden.shape[2:] != size:
            raise CacheError(
                f"the cache holds hidden states {tuple(self.hidden.shape)}, latents are"
                f" {tuple(z.shape)}: expected {frames} frames of {tuple(size)} latent pixels;"
                " run a key step first",
                code="stale_cache",
            )
