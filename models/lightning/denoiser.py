"""What the sampler needs of a network: a full step that caches, a light step that reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self, TypeVar

from torch import Tensor

from models.lightning.cache import FeatureCache
from models.lightning.dfa import FaceTokens


class Conditioning(Protocol):
    """Everything but the latents that a network call needs, for a batch of B chunks."""

    @property
    def identity_ids(self) -> tuple[str, ...]:
        """Content keys of the identities, in batch order."""
        ...

    @property
    def face_tokens(self) -> FaceTokens | None:
        """Where the face is; None where that is not known."""
        ...

    def repeat(self, n: int) -> Self:
        """What n light steps in one batch need: the whole batch, n times over."""
        ...


C = TypeVar("C", bound=Conditioning)


class Denoiser(Protocol[C]):
    """A network with the two entries that the sampler calls; latents are [B, C, F, H, W].

    ``C`` is the network's own conditioning type. Both entries are given the time ``t`` that the
    network embeds, [B], and the number of the step in the plan, counted from 0.
    """

    def full(
        self, z: Tensor, t: Tensor, cond: C, *, step: int, keep: bool
    ) -> tuple[Tensor, FeatureCache]:
        """Key step: the prediction, like ``z``, and the cache for the light steps after it.

        Args:
            keep: also cache the last layer's attention outputs, for foreground attention.
        """
        ...

    def light(
        self, cache: FeatureCache, z: Tensor, t: Tensor, cond: C, *, step: int | Sequence[int]
    ) -> Tensor:
        """Light step: conv_in, the last layer and the head, from the cached features.

        Args:
            step: where n steps run in one batch [n * B, C, F, H, W], the numbers of all of them.

        Raises:
            CacheError: the cache belongs to other identities or to another batch shape.
        """
        ...

    def collate(self, conditionings: Sequence[C]) -> C:
        """Join the conditioning of single chunks to that of their batch."""
        ...
