"""What the published backbones share: classifier-free guidance inside ``full`` and ``tail``.

With guidance every network call runs the unconditional rows and then the conditional ones, folded
as [halves, B, F]; the sampler sees [B, C, F, H, W] and v = v_u + g (v_c - v_u).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import LiveheadError
from models.lightning.cache import Cached
from models.lightning.dfa import Face, pad_together, padding_together
from models.lightning.focus import Focus
from models.sd15.unet import UNet
from models.spec import BackboneSpec

KINDS = ("resnets", "attentions", "audio_modules", "motion_modules")
Tree = Any
"""A tensor, or mappings and tuples of trees."""


@dataclass(frozen=True)
class GuidedCondition:
    """Everything but the latents that a call needs, for B chunks.

    Attributes:
        owners: content keys of the identities.
        foreground: face token indices [B, K] or None.
        frames: F; halves: 2 with guidance, else 1.
        parts: what the family's networks need, trees of tensors whose first axis is made of
            ``halves`` equal parts; a mapping in it is by path of the module that needs it.
        last: paths of the last layer's modules, all that light steps need of those mappings.
        shared: like ``parts``, but the same for both halves: first axes are clips.
        padding: which face tokens are no more than padding, bool [B, K]; None if none is.
    """

    owners: tuple[str, ...]
    foreground: Tensor | None
    frames: int
    halves: int
    parts: Mapping[str, Tree]
    last: frozenset[str]
    shared: Mapping[str, Tree] = field(default_factory=dict)
    padding: Tensor | None = None

    def repeat(self, n: int) -> GuidedCondition:
        """For n light steps in one batch: the batch n times over, the deeper layers' parts left
        out (MEMO's memories of all layers are gigabytes)."""
        parts, shared = self._light(self.parts), self._light(self.shared)
        return collate([replace(self, parts=parts, shared=shared)] * n)

    def _light(self, parts: Mapping[str, Tree]) -> dict[str, Tree]:
        return {
            name: {path: part[path] for path in part if path in self.last}
            if isinstance(part, Mapping)
            else part
            for name, part in parts.items()
        }


def collate(conditions: Sequence[GuidedCondition]) -> GuidedCondition:
    """Conditions of single chunks -> the condition of their batch."""
    first = conditions[0]
    if len(conditions) == 1:
        return first
    halves = first.halves

    faces = [Face(c.foreground, c.padding) for c in conditions if c.foreground is not None]

    def join(*parts: Tensor) -> Tensor:
        split = [part.chunk(halves) for part in parts]
        return torch.cat([pieces[half] for half in range(halves) for pieces in split])

    return GuidedCondition(
        tuple(owner for c in conditions for owner in c.owners),
        pad_together([c.foreground for c in conditions]),
        first.frames,
        halves,
        map_tensors(join, *(c.parts for c in conditions)),
        first.last,
        map_tensors(lambda *clips: torch.cat(clips), *(c.shared for c in conditions)),
        padding_together(faces) if len(faces) == len(conditions) else None,
    )


def map_tensors(f: Callable[..., Tensor], *trees: Tree) -> Tree:
    """Apply ``f`` to the tensors at the same place of all trees; the first one gives the form."""
    first = trees[0]
    if isinstance(first, Tensor):
        return f(*trees)
    if isinstance(first, Mapping):
        return {name: map_tensors(f, *(tree[name] for tree in trees)) for name in first}
    if isinstance(first, tuple):
        parts = [map_tensors(f, *together) for together in zip(*trees, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)
    return first


class GuidedBackbone:
    """A family's network as the one sampler drives it; families give ``call``.

    Args:
        spec: the row; network: the denoiser; guidance: g, 1 for a single branch.
        without_reference: paths of transformers that do not read the reference.

    Raises:
        LiveheadError: a path names no transformer of the network (``bad_option``).
    """

    def __init__(
        self,
        spec: BackboneSpec,
        network: UNet,
        guidance: float,
        without_reference: Collection[str] = (),
    ) -> None:
        check_transformers(network, without_reference)
        self.spec = spec
        self.network = network
        self.guidance = guidance
        self.without_reference = frozenset(without_reference)

    def condition(
        self,
        owner: str,
        foreground: Tensor | None,
        parts: Mapping[str, Tree],
        shared: Mapping[str, Tree] | None = None,
        frames: int = 0,
    ) -> GuidedCondition:
        """The condition of one chunk, of the spec's frames if none are given."""
        frames, last = frames or self.spec.chunk_frames, last_paths(self.network)
        return GuidedCondition((owner,), foreground, frames, self.halves, parts, last, shared or {})

    @property
    def halves(self) -> int:
        """2 with guidance, else 1."""
        return 1 if self.guidance == 1.0 else 2

    def left_out(self) -> list[nn.Module]:
        """What light steps do without."""
        return self.network.left_out()

    def call(self, cond: GuidedCondition, focus: Focus) -> Any:
        """What the network's hooks need for one call."""
        raise NotImplementedError("a family says what its network is told")

    def carried(self, call: Any) -> dict[str, Tensor]:
        """What light steps need of a key step's call beside the hidden state."""
        return {}

    def carry(self, call: Any, carried: Mapping[str, Tensor]) -> None:
        """Give a light step's call what the key step's left."""

    def full(
        self, z: Tensor, t: Tensor, cond: GuidedCondition, *, keep: bool = False
    ) -> tuple[Tensor, Cached]:
        """Key step: the guided prediction [B, C, F, H, W], and the cache for light steps."""
        focus = Focus(keep=keep)
        call = self.call(cond, focus)
        rows, embedding = self.enter(z, t, cond)
        out, hidden = self.network.everything(rows, embedding, call)
        kept = self._own(focus.kept) if keep else None
        carried = self._own(self.carried(call))
        cached = Cached(self._own(hidden), kept, cond.owners, cond.halves, carried)
        return self.leave(self._own(out), z), cached

    def tail(self, cached: Cached, z: Tensor, t: Tensor, cond: GuidedCondition) -> Tensor:
        """Light step: conv_in, the last layer and the head.

        Raises:
            CacheError: the cache belongs to other identities or to another batch shape.
        """
        cached.check(cond.owners, z)
        foreground = padding = None
        if cached.background is not None and cond.foreground is not None:
            foreground = cond.foreground.repeat(cond.halves, 1)
            padding = None if cond.padding is None else cond.padding.repeat(cond.halves, 1)
        call = self.call(cond, Focus(foreground, cached.background, padding=padding))
        self.carry(call, cached.carried)
        rows, embedding = self.enter(z, t, cond)
        return self.leave(self._own(self.network.last(cached.hidden, rows, embedding, call)), z)

    def _own(self, made: Tree) -> Tree:
        """What the network made, in memory that its next call does not write to."""
        return map_tensors(torch.clone, made) if self.network.reuses_outputs else made

    def collate(self, conditions: Sequence[GuidedCondition]) -> GuidedCondition:
        """Conditions of single chunks -> the condition of their batch."""
        return collate(conditions)

    def enter(self, z: Tensor, t: Tensor, cond: GuidedCondition) -> tuple[Tensor, Tensor]:
        """Latents and times [B] -> rows of all halves and their time embeddings."""
        dtype = self.network.conv_in.weight.dtype
        rows = z.transpose(1, 2).flatten(0, 1).to(dtype).repeat(cond.halves, 1, 1, 1)
        return rows, self.network.embed(t, cond.halves, z.shape[2])

    def leave(self, out: Tensor, z: Tensor) -> Tensor:
        """The network's rows -> the guided prediction, like ``z``."""
        video = out.to(z.dtype).view(-1, z.shape[2], *out.shape[1:]).transpose(1, 2)
        return guide(video, self.guidance, len(z))


def check_transformers(network: UNet, paths: Collection[str]) -> None:
    """Refuse paths that name no transformer that reads the reference.

    Raises:
        LiveheadError: with those that do (``bad_option``).
    """
    known = {place.path("attentions") for place in network.places() if place.attends}
    if strangers := set(paths) - known:
        raise LiveheadError(
            f"expected transformers that can do without the reference out of"
            f" {', '.join(sorted(known))}; got {', '.join(sorted(strangers))}",
            code="bad_option",
        )


def last_paths(network: UNet) -> frozenset[str]:
    """Paths of the modules of the last layer."""
    place = next(place for place in network.places() if place.last)
    return frozenset(place.path(kind) for kind in KINDS)


def guide(v: Tensor, guidance: float, clips: int) -> Tensor:
    """Predictions of all halves [halves * B, ...] -> guided ones [B, ...]."""
    if len(v) == clips:
        return v
    unconditional, conditional = v.chunk(2)
    return unconditional + guidance * (conditional - unconditional)
