"""The toy denoiser: a first convolution, a trunk that light steps skip, and a last layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.lightning.cache import FeatureCache
from tests.support.toy_model.conditioning import ToyConditioning, collate_toy

WIDTH = 8


class ToyUNet(nn.Module):
    """Implements ``models.lightning.denoiser.Denoiser``; untrained."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(2 * channels + 2, WIDTH, 3, padding=1)
        self.trunk = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.last = nn.Conv2d(2 * WIDTH, channels, 3, padding=1)

    def full(
        self, z: Tensor, t: Tensor, cond: ToyConditioning, *, step: int, keep: bool
    ) -> tuple[Tensor, FeatureCache]:
        """Key step: v-prediction [B, C, F, H, W], and the hidden state before the last layer."""
        h = self._first(z, t, cond)
        hidden = torch.tanh(self.trunk(h))
        return self._last(hidden, h, z), FeatureCache(hidden, None, cond.identity_ids, step=step)

    def light(
        self,
        cache: FeatureCache,
        z: Tensor,
        t: Tensor,
        cond: ToyConditioning,
        *,
        step: int | Sequence[int],
    ) -> Tensor:
        """Light step: the same without the trunk.

        Raises:
            CacheError: the cache belongs to other identities or another shape.
        """
        cache.check(cond.identity_ids, z)
        return self._last(cache.hidden, self._first(z, t, cond), z)

    def collate(self, conditionings: Sequence[ToyConditioning]) -> ToyConditioning:
        """Join the conditioning of single chunks to that of their batch."""
        return collate_toy(conditionings)

    def _first(self, z: Tensor, t: Tensor, cond: ToyConditioning) -> Tensor:
        """[B, C, F, H, W] -> features of folded frames [B * F, WIDTH, H, W]."""
        batch, _, frames, height, width = z.shape
        planes = [
            z.transpose(1, 2),
            cond.portrait[:, None].expand(-1, frames, -1, -1, -1),
            cond.loudness.view(batch, frames, 1, 1, 1).expand(-1, -1, -1, height, width),
            (t / 1000).view(batch, 1, 1, 1, 1).expand(-1, frames, -1, height, width),
        ]
        return torch.tanh(self.conv_in(torch.cat(planes, dim=2).flatten(0, 1)))

    def _last(self, hidden: Tensor, h: Tensor, z: Tensor) -> Tensor:
        out: Tensor = self.last(torch.cat([hidden, h], dim=1))
        return out.view(z.shape[0], z.shape[2], *out.shape[1:]).transpose(1, 2)
