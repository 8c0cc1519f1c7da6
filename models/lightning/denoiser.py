"""What the sampler and the façade need from a backbone, and the seam between the two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from models.lightning.cache import FeatureCache
from models.spec import DiffusionSpec


class Conditioning(Protocol):
    """Everything but the latents that a network call needs, for a batch of B chunks."""

    identity_ids: tuple[str, ...]
    foreground: Tensor | None

    def repeat(self, n: int) -> Conditioning:
        """For n light steps in one batch: the whole batch, n times over."""
        ...


class Denoiser(Protocol):
    """One network family. ``C`` is its own condition type; latents are [B, C, F, H, W]."""

    @property
    def spec(self) -> DiffusionSpec:
        """The row that describes the network."""
        ...

    def full(
        self, z: Tensor, t: Tensor, cond: Any, *, keep: bool = ...
    ) -> tuple[Tensor, FeatureCache]:
        """The whole network: v-prediction like ``z`` and the cache for light steps.

        ``t`` are training steps [B]; ``keep`` also caches the background's attention outputs.
        """
        ...

    def tail(self, cached: FeatureCache, z: Tensor, t: Tensor, cond: Any) -> Tensor:
        """Only conv_in, the last layer and the output convolution, from a cached hidden state."""
        ...

    def collate(self, conditions: Sequence[Any]) -> Any:
        """Conditions of single chunks -> the condition of their batch."""
        ...
