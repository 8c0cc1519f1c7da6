"""What the published backbones share: classifier-free guidance inside ``full`` and ``tail``.

With guidance every network call runs the unconditional rows and then the conditional ones, folded
as [num_branches, B, F]; the sampler sees [B, C, F, H, W] and v = v_u + g (v_c - v_u).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import LiveheadError
from models.lightning.cache import FeatureCache
from models.lightning.dfa import FaceTokens, pad_and_stack, stack_padding
from models.lightning.focus import Focus
from models.sd15.unet import UNet
from models.spec import DiffusionSpec

KINDS = ("resnets", "attentions", "audio_modules", "motion_modules")
Tree = Any
"""A tensor, or mappings and tuples of trees."""


@dataclass(frozen=True)
class SD15Conditioning:
    """Everything but the latents that a call needs, for B chunks.

    Attributes:
        identity_ids: content keys of the identities.
        foreground: face token indices [B, K] or None.
        frames: F; num_branches: 2 with guidance, else 1.
        parts: what the family's networks need, trees of tensors whose first axis is made of
            ``num_branches`` equal parts; a mapping in it is by path of the module that needs it.
        last: paths of the last layer's modules, all that light steps need of those mappings.
        shared: like ``parts``, but the same for both halves: first axes are clips.
        padding: which face tokens are no more than padding, bool [B, K]; None if none is.
    """

    identity_ids: tuple[str, ...]
    foreground: Tensor | None
    frames: int
    num_branches: int
    parts: Mapping[str, Tree]
    last: frozenset[str]
    shared: Mapping[str, Tree] = field(default_factory=dict)
    padding: Tensor | None = None

    def repeat(self, n: int) -> SD15Conditioning:
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


def collate(conditions: Sequence[SD15Conditioning]) -> SD15Conditioning:
    """Conditions of single chunks -> the condition of their batch."""
    first = conditions[0]
    if len(conditions) == 1:
        return first
    num_branches = first.num_branches

    faces = [FaceTokens(c.foreground, c.padding) for c in conditions if c.foreground is not None]

    def join(*parts: Tensor) -> Tensor:
        split = [part.chunk(num_branches) for part in parts]
        return torch.cat([pieces[half] for half in range(num_branches) for pieces in split])

    return SD15Conditioning(
        tuple(identity_id for c in conditions for identity_id in c.identity_ids),
        pad_and_stack([c.foreground for c in conditions]),
        first.frames,
        num_branches,
        map_tensors(join, *(c.parts for c in conditions)),
        first.last,
        map_tensors(lambda *clips: torch.cat(clips), *(c.shared for c in conditions)),
        stack_padding(faces) if len(faces) == len(conditions) else None,
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


class SD15Denoiser:
    """A family's network as the one sampler drives it; families give ``call``.

    Args:
        spec: the row; network: the denoiser; guidance: g, 1 for a single branch.
        without_reference: paths of transformers that do not read the reference.

    Raises:
        LiveheadError: a path names no transformer of the network (``bad_option``).
    """

    def __init__(
        self,
        spec: DiffusionSpec,
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
        identity_id: str,
        foreground: Tensor | None,
        parts: Mapping[str, Tree],
        shared: Mapping[str, Tree] | None = None,
        frames: int = 0,
    ) -> SD15Conditioning:
        """The condition of one chunk, of the spec's frames if none are given."""
        frames, last = frames or self.spec.chunk_frames, last_layer_paths(self.network)
        return SD15Conditioning(
            (identity_id,), foreground, frames, self.num_branches, parts, last, shared or {}
        )

    @property
    def num_branches(self) -> int:
        """2 with guidance, else 1."""
        return 1 if self.guidance == 1.0 else 2

    def left_out(self) -> list[nn.Module]:
        """What light steps do without."""
        return self.network.left_out()

    def call(self, cond: SD15Conditioning, focus: Focus) -> Any:
        """What the network's hooks need for one call."""
        raise NotImplementedError("a family says what its network is told")

    def carried(self, call: Any) -> dict[str, Tensor]:
        """What light steps need of a key step's call beside the hidden state."""
        return {}

    def carry(self, call: Any, carried: Mapping[str, Tensor]) -> None:
        """Give a light step's call what the key step's left."""

    def full(
        self, z: Tensor, t: Tensor, cond: SD15Conditioning, *, keep: bool = False
    ) -> tuple[Tensor, FeatureCache]:
        """Key step: the guided prediction [B, C, F, H, W], and the cache for light steps."""
        focus = Focus(keep=keep)
        call = self.call(cond, focus)
        rows, embedding = self.enter(z, t, cond)
        out, hidden = self.network.everything(rows, embedding, call)
        kept = self._own(focus.kept) if keep else None
        carried = self._own(self.carried(call))
        cached = FeatureCache(
            self._own(hidden), kept, cond.identity_ids, cond.num_branches, carried
        )
        return self.leave(self._own(out), z), cached

    def tail(self, cached: FeatureCache, z: Tensor, t: Tensor, cond: SD15Conditioning) -> Tensor:
        """Light step: conv_in, the last layer and the head.

        Raises:
            CacheError: the cache belongs to other identities or to another batch shape.
        """
        cached.check(cond.identity_ids, z)
        foreground = padding = None
        if cached.background is not None and cond.foreground is not None:
            foreground = cond.foreground.repeat(cond.num_branches, 1)
            padding = None if cond.padding is None else cond.padding.repeat(cond.num_branches, 1)
        call = self.call(cond, Focus(foreground, cached.background, padding=padding))
        self.carry(call, cached.carried)
        rows, embedding = self.enter(z, t, cond)
        return self.leave(self._own(self.network.last(cached.hidden, rows, embedding, call)), z)

    def _own(self, made: Tree) -> Tree:
        """What the network made, in memory that its next call does not write to."""
        return map_tensors(torch.clone, made) if self.network.reuses_outputs else made

    def collate(self, conditions: Sequence[SD15Conditioning]) -> SD15Conditioning:
        """Conditions of single chunks -> the condition of their batch."""
        return collate(conditions)

    def enter(self, z: Tensor, t: Tensor, cond: SD15Conditioning) -> tuple[Tensor, Tensor]:
        """Latents and times [B] -> rows of all halves and their time embeddings."""
        dtype = self.network.conv_in.weight.dtype
        rows = z.transpose(1, 2).flatten(0, 1).to(dtype).repeat(cond.num_branches, 1, 1, 1)
        return rows, self.network.embed(t, cond.num_branches, z.shape[2])

    def leave(self, out: Tensor, z: Tensor) -> Tensor:
        """The network's rows -> the guided prediction, like ``z``."""
        video = out.to(z.dtype).view(-1, z.shape[2], *out.shape[1:]).transpose(1, 2)
        return apply_guidance(video, self.guidance, len(z))


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


def last_layer_paths(network: UNet) -> frozenset[str]:
    """Paths of the modules of the last layer."""
    place = next(place for place in network.places() if place.last)
    return frozenset(place.path(kind) for kind in KINDS)


def apply_guidance(v: Tensor, guidance: float, clips: int) -> Tensor:
    """Predictions of all halves [num_branches * B, ...] -> guided ones [B, ...]."""
    if len(v) == clips:
        return v
    unconditional, conditional = v.chunk(2)
    return unconditional + guidance * (conditional - unconditional)
