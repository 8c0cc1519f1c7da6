"""What Hallo, EchoMimic and MEMO share as denoisers: classifier-free guidance in every call.

With guidance every network call runs the unconditional rows and then the conditional ones, folded
as [num_branches, B, F]; the sampler sees [B, C, F, H, W] and v = v_u + g (v_c - v_u).
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Self, TypeVar

import torch
from torch import Tensor

from models.errors import LiveheadError
from models.lightning.cache import FeatureCache
from models.lightning.dfa import FULL_ATTENTION, FaceTokens, ForegroundAttention, pad_and_stack
from models.lightning.pytree import T, map_tensors
from models.nn.attention import KeyValue
from models.sd15.attention import ReferenceKV
from models.sd15.unet import LayerInfo, UNet
from models.spec import DiffusionSpec


@dataclass(frozen=True, kw_only=True)
class SD15Conditioning:
    """Everything but the latents that a call needs, for B chunks of F frames.

    Models add their own fields: trees of tensors whose first axis is [num_branches * B * ...],
    unconditional rows first; mappings are by path of the module that they are for.

    Attributes:
        identity_ids: content keys of the B identities.
        face_tokens: where the face is; None where that is not known.
        frames: F; num_branches: 2 with guidance, else 1.
        last_layer: all that light steps run.
        reference_kv: reference keys and values by path of the transformer that reads them.
    """

    identity_ids: tuple[str, ...]
    face_tokens: FaceTokens | None
    frames: int
    num_branches: int
    last_layer: LayerInfo
    reference_kv: Mapping[str, KeyValue]

    @property
    def num_uncond(self) -> int:
        """Unconditional rows: the first so many read no reference."""
        return (self.num_branches - 1) * len(self.identity_ids) * self.frames

    def reference_rows(self, device: torch.device) -> Tensor:
        """Which entry of the reference keys and values each row reads, int64 [N]."""
        raise NotImplementedError("a model defines how references are numbered")

    def reference(self, path: str) -> ReferenceKV | None:
        """What the transformer at ``path`` reads; None if it reads nothing."""
        kv = self.reference_kv.get(path)
        if kv is None:
            return None
        rows = self.reference_rows(kv.key.device)[self.num_uncond :]
        return ReferenceKV(kv, rows, self.num_uncond)

    def for_light_steps(self) -> Self:
        """The same without what deeper layers than the last need."""
        raise NotImplementedError("a model defines what its last layer needs")

    def repeat(self, n: int) -> Self:
        """For n light steps in one batch: the batch n times over, what deeper layers need left out
        (MEMO's memories of all layers are gigabytes)."""
        return collate([self.for_light_steps()] * n)

    def join(self, others: Sequence[Self]) -> Self:
        """This and other conditionings as one batch, branch by branch."""

        def cat(*parts: Tensor) -> Tensor:
            branches = zip(*(part.chunk(self.num_branches) for part in parts), strict=True)
            return torch.cat([part for branch in branches for part in branch])

        return map_tensors(cat, self, *others)


AnyConditioning = TypeVar("AnyConditioning", bound=SD15Conditioning)


def collate(conditionings: Sequence[AnyConditioning]) -> AnyConditioning:
    """Conditioning of single chunks -> that of their batch."""
    first = conditionings[0]
    if len(conditionings) == 1:
        return first
    # Identities and faces differ in form from chunk to chunk; the rest are trees of the same form.
    head, *others = (replace(c, identity_ids=(), face_tokens=None) for c in conditionings)
    return replace(
        head.join(others),
        identity_ids=tuple(key for c in conditionings for key in c.identity_ids),
        face_tokens=pad_and_stack([c.face_tokens for c in conditionings]),
    )


@dataclass
class CallContext(Generic[AnyConditioning]):
    """What the layers need of one network call beside latents and time.

    Attributes:
        cond: conditioning of the batch.
        dfa: how attention of the last layer runs.
        extra: features, besides the hidden state, that the last layer takes from deeper ones, by
            name; a full step fills it in, a light step is given it.
    """

    cond: AnyConditioning
    dfa: ForegroundAttention = field(default_factory=ForegroundAttention)
    extra: dict[str, Tensor] = field(default_factory=dict)

    def dfa_at(self, layer: LayerInfo) -> ForegroundAttention:
        """How attention of ``layer`` runs: over all tokens but in the last one."""
        return self.dfa if layer.is_last else FULL_ATTENTION


class SD15Denoiser(Generic[AnyConditioning]):
    """A network as the sampler calls it; implements ``models.lightning.denoiser.Denoiser``.

    Args:
        spec: sizes, frame rate and schedule; network: the denoising UNet; guidance: g, 1 for a
            single branch.
        without_reference: paths of transformers that do not read the reference.

    Raises:
        LiveheadError: a path names no transformer of the network (``bad_option``).
    """

    network: UNet[CallContext[AnyConditioning]]

    def __init__(
        self,
        spec: DiffusionSpec,
        network: UNet[CallContext[AnyConditioning]],
        guidance: float,
        without_reference: Collection[str] = (),
    ) -> None:
        check_transformers(network, without_reference)
        self.spec = spec
        self.network = network
        self.guidance = guidance
        self.without_reference = frozenset(without_reference)

    @property
    def num_branches(self) -> int:
        """2 with guidance, else 1."""
        return 1 if self.guidance == 1.0 else 2

    def light_replica(self, device: torch.device) -> Self:
        """A copy of what light steps need, on ``device``; all other modules are None in it."""
        unused: dict[int, Any] = {
            id(module): None for module in self.network.unused_in_light_step()
        }
        replica = copy.copy(self)
        replica.network = copy.deepcopy(self.network, unused).to(device)
        return replica

    def full(
        self,
        z: Tensor,
        t: Tensor,
        cond: AnyConditioning,
        *,
        step: int = 0,
        keep: bool = False,
    ) -> tuple[Tensor, FeatureCache]:
        """Key step: the guided prediction [B, C, F, H, W], and the cache for light steps."""
        context = CallContext(self.drop_references(cond), ForegroundAttention(keep=keep))
        x, embedding = self.preprocess(z, t, cond)
        out, hidden = self.network.full(x, embedding, context)
        cache = FeatureCache(
            self._keep(hidden),
            self._keep(context.dfa.outputs) if keep else None,
            cond.identity_ids,
            cond.num_branches,
            self._keep(context.extra),
            step,
        )
        return self.postprocess(self._keep(out), z), cache

    def light(
        self,
        cache: FeatureCache,
        z: Tensor,
        t: Tensor,
        cond: AnyConditioning,
        *,
        step: int | Sequence[int] = 0,
    ) -> Tensor:
        """Light step: conv_in, the last layer and the head.

        Raises:
            CacheError: the cache belongs to other identities or to another batch shape.
        """
        cache.check(cond.identity_ids, z)
        dfa = ForegroundAttention()
        if cache.background is not None and cond.face_tokens is not None:
            face_tokens = cond.face_tokens.repeat(cond.num_branches)
            dfa = ForegroundAttention(face_tokens, cache.background)
        context = CallContext(self.drop_references(cond), dfa, dict(cache.extra))
        x, embedding = self.preprocess(z, t, cond)
        out = self.network.light(cache.hidden, x, embedding, context)
        return self.postprocess(self._keep(out), z)

    def collate(self, conditionings: Sequence[AnyConditioning]) -> AnyConditioning:
        """Conditioning of single chunks -> that of their batch."""
        return collate(conditionings)

    def preprocess(self, z: Tensor, t: Tensor, cond: AnyConditioning) -> tuple[Tensor, Tensor]:
        """Latents and times [B] -> rows of all branches and their time embeddings."""
        dtype = self.network.conv_in.weight.dtype
        rows = z.transpose(1, 2).flatten(0, 1).to(dtype).repeat(cond.num_branches, 1, 1, 1)
        return rows, self.network.embed(t, cond.num_branches, z.shape[2])

    def postprocess(self, out: Tensor, z: Tensor) -> Tensor:
        """The network's rows -> the guided prediction, like ``z``."""
        return apply_guidance(unfold_frames(out, z), self.guidance, len(z))

    def drop_references(self, cond: AnyConditioning) -> AnyConditioning:
        """The conditioning without the references at ``without_reference``."""
        if not self.without_reference:
            return cond
        kv = {p: kv for p, kv in cond.reference_kv.items() if p not in self.without_reference}
        return replace(cond, reference_kv=kv)

    def _keep(self, output: T) -> T:
        """The output, copied if the network's next call writes into its memory."""
        return map_tensors(torch.clone, output) if self.network.reuses_outputs else output


def check_transformers(network: UNet[Any], paths: Collection[str]) -> None:
    """Refuse paths that name no transformer that reads the reference.

    Raises:
        LiveheadError: with those that do (``bad_option``).
    """
    known = set(network.attention_paths())
    if unknown := set(paths) - known:
        raise LiveheadError(
            f"expected transformers that can do without the reference out of"
            f" {', '.join(sorted(known))}; got {', '.join(sorted(unknown))}",
            code="bad_option",
        )


def unfold_frames(out: Tensor, z: Tensor) -> Tensor:
    """Folded frames [num_branches * B * F, C, H, W] -> [num_branches * B, C, F, H, W], as ``z``."""
    return out.to(z.dtype).view(-1, z.shape[2], *out.shape[1:]).transpose(1, 2)


def apply_guidance(v: Tensor, guidance: float, clips: int) -> Tensor:
    """Predictions of all branches [num_branches * B, ...] -> guided ones [B, ...]."""
    if len(v) == clips:
        return v
    unconditional, conditional = v.chunk(2)
    return unconditional + guidance * (conditional - unconditional)


def zeros_for_uncond(conditional: Tensor, num_branches: int) -> Tensor:
    """[n, ...] -> [num_branches * n, ...]: zeros for the unconditional branch, in front."""
    return torch.cat([torch.zeros_like(conditional)] * (num_branches - 1) + [conditional])
