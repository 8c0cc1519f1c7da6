"""The feature cache: what a key step leaves for the light steps after it, and who may use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.errors import CacheError


@dataclass(frozen=True)
class FeatureCache:
    """What a key step leaves for the light steps that follow it.

    Rows are folded frames; with guidance the unconditional rows of the whole batch come first.

    Attributes:
        hidden: f_U31, hidden state entering the last layer U32, [num_branches * B * F, C, H, W].
        background: U32's attention outputs at every token, [num_branches * B * F, H * W, C],
            by name; None when the sampler asked for no foreground attention.
        identity_ids: content keys of the identities in the batch, in order.
        num_branches: 2 with guidance, else 1.
        carried: what else the last layer takes from deeper ones, by name; rows as of ``hidden``.
    """

    hidden: Tensor
    background: Mapping[str, Tensor] | None
    identity_ids: tuple[str, ...]
    num_branches: int = 1
    carried: Mapping[str, Tensor] = field(default_factory=dict)

    def repeat(self, n: int) -> FeatureCache:
        """The same cache for n light steps in one batch, in the same memory layout."""
        if n == 1:
            return self
        background = None
        if self.background is not None:
            background = {name: self._tiled(kept, n) for name, kept in self.background.items()}
        carried = {name: self._tiled(kept, n) for name, kept in self.carried.items()}
        hidden = self._tiled(self.hidden, n)
        return FeatureCache(hidden, background, self.identity_ids * n, self.num_branches, carried)

    def _tiled(self, rows: Tensor, n: int) -> Tensor:
        """Rows of the batch n times over, within each half."""
        return torch.cat([half for half in rows.chunk(self.num_branches) for _ in range(n)])

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
        frames, cells = self.num_branches * z.shape[0] * z.shape[2], z.shape[3:]
        if self.hidden.shape[0] != frames or self.hidden.shape[2:] != cells:
            raise CacheError(
                f"the cache holds hidden states {tuple(self.hidden.shape)}, latents are"
                f" {tuple(z.shape)}: expected {frames} frames of {tuple(cells)} cells;"
                " run a key step first",
                code="stale_cache",
            )
