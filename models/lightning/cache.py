"""The feature cache: what a key step leaves for the light steps after it, and who may use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.errors import CacheError


@dataclass(frozen=True)
class Cached:
    """What a key step leaves for the light steps that follow it.

    Attributes:
        hidden: f_U31, the hidden state that enters the last layer U32, [B * F, C, H, W].
        background: attention outputs of U32 at every token, [B * F, H * W, C]; None when the
            sampler asked for no foreground attention.
        owners: content keys of the identities in the batch, in order.
    """

    hidden: Tensor
    background: Tensor | None
    owners: tuple[str, ...]

    def repeat(self, n: int) -> Cached:
        """The same cache for n light steps in one batch, in the same memory layout."""
        if n == 1:
            return self
        background = None if self.background is None else torch.cat([self.background] * n)
        return Cached(torch.cat([self.hidden] * n), background, self.owners * n)

    def check(self, owners: Sequence[str], z: Tensor) -> None:
        """Refuse a cache made for other identities or another shape of latents [B, C, F, H, W].

        Raises:
            CacheError: with both sides of the mismatch.
        """
        if self.owners != tuple(owners):
            raise CacheError(
                f"the cache was made for identities {self.owners}, asked for {tuple(owners)};"
                " run a key step first",
                code="stale_cache",
            )
        frames, cells = z.shape[0] * z.shape[2], z.shape[3:]
        if self.hidden.shape[0] != frames or self.hidden.shape[2:] != cells:
            raise CacheError(
                f"the cache holds hidden states {tuple(self.hidden.shape)}, latents are"
                f" {tuple(z.shape)}: expected {frames} frames of {tuple(cells)} cells;"
                " run a key step first",
                code="stale_cache",
            )
