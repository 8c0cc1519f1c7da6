"""EchoMimic's published loop over a whole clip: ring windows that shift by two frames a step.

Windows of f frames begin every f - overlap frames of the clip, modulo its length F, so that the
last ones wrap to the first frames. At step s every frame number is shifted by 2 s. The network
runs window by window, predictions are averaged per frame, and guidance follows.

Light steps: the shift makes a cached hidden state belong to other frames than the same window's at
the next step. So a key step leaves the hidden states of all frames of all windows, and in a light
step each frame takes its own from the window of the same number if that one held the frame at the
key step, else from the next window of the ring that did. A light step at the key step's own
position thus finds exactly what the key step left.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.echomimic.conditioning import EchoMimicConditioning
from models.echomimic.unet import EchoMimicDenoiser
from models.errors import CacheError
from models.lightning.cache import FeatureCache
from models.lightning.devices import DeviceReplica
from models.lightning.dfa import FaceTokens
from models.lightning.pytree import map_tensors, register
from models.nn.attention import KeyValue
from models.sd15.cfg import apply_guidance, unfold_frames, zeros_for_uncond

SHIFT = 2  # frames that windows move at each step
Windows = list[list[int]]


def ring_windows(frames: int, window: int, overlap: int) -> Windows:
    """Frame numbers of every window at the first step."""
    if frames <= window:
        return [list(range(frames))]
    starts = range(0, frames, window - overlap)
    return [[(start + k) % frames for k in range(window)] for start in starts]


@register
@dataclass(frozen=True)
class ClipConditioning:
    """What a whole clip's calls need.

    Attributes:
        identity_ids: the identity's content key, once for each copy of the clip in the batch.
        face_tokens: of the one clip; None where they are not known.
        reference_kv: keys and values of the portrait, by path.
        face: located face, of all branches [num_branches, C, H, W].
        audio_kv: keys and values of every frame's audio [F, ...], by path; conditional rows alone.
        copies: of the clip in the batch.
    """

    identity_ids: tuple[str, ...]
    face_tokens: FaceTokens | None
    reference_kv: Mapping[str, KeyValue]
    face: Tensor
    audio_kv: Mapping[str, KeyValue]
    copies: int = 1

    def repeat(self, n: int) -> ClipConditioning:
        """For n light steps in one batch."""
        return replace(self, identity_ids=self.identity_ids * n, copies=self.copies * n)


class EchoMimicWindows:
    """A whole clip as the sampler denoises it; implements ``models.lightning.denoiser.Denoiser``.

    Args:
        inner: runs one window; its guidance and schedule hold.
        frames: F of the clip; window: f; overlap: of neighbouring windows.
        counted: divide by how many windows held a frame. The published code of EchoMimic without
            guidance does not, a defect that only replays need.
    """

    def __init__(
        self,
        inner: EchoMimicDenoiser,
        frames: int,
        *,
        window: int = 12,
        overlap: int = 3,
        counted: bool = True,
    ) -> None:
        self.inner, self.frames, self.counted = inner, frames, counted
        self.raw, self.last_layer = _Raw(inner), inner.network.last_layer()
        self.base = ring_windows(frames, window, overlap)

    def on_replica(self, replica: DeviceReplica) -> DeviceReplica:
        """The same windows around a replica of the inner denoiser."""
        inner = replica.denoiser
        assert isinstance(inner, EchoMimicDenoiser)
        windows = copy.copy(self)
        windows.inner, windows.raw = inner, _Raw(inner)
        return DeviceReplica(replica.device, windows)

    def condition(self, cond: EchoMimicConditioning) -> ClipConditioning:
        """From the conditioning of all the clip's frames."""
        uncond = self.frames * (cond.num_branches - 1)
        audio_kv = map_tensors(lambda rows: rows[uncond:], cond.audio_kv)
        return ClipConditioning(
            cond.identity_ids, cond.face_tokens, cond.reference_kv, cond.face, audio_kv
        )

    def windows_at(self, step: int) -> Windows:
        """Frame numbers of every window at a step."""
        return [[(frame + SHIFT * step) % self.frames for frame in window] for window in self.base]

    def full(
        self, z: Tensor, t: Tensor, cond: ClipConditioning, *, step: int, keep: bool = False
    ) -> tuple[Tensor, FeatureCache]:
        """Key step of one clip [1, C, F, H, W]; the cache holds rows [num_branches, windows, f].

        Raises:
            CacheError: the batch holds several clips.
        """
        if len(z) != 1:
            raise CacheError(
                f"expected one clip, got latents {tuple(z.shape)}; run clips one by one",
                code="stale_cache",
            )
        parts: list[FeatureCache] = []
        mean = _Mean(self, z)
        for window in self.windows_at(step):
            own_z, own_cond = self._inputs(z, cond, window)
            v, part = self.raw.full(own_z, t, own_cond, step=step, keep=keep)
            parts.append(part)
            mean.add(window, v)
        cache = map_tensors(self._cat_branches, *parts)
        return mean.guided(), replace(cache, identity_ids=cond.identity_ids)

    def light(
        self,
        cache: FeatureCache,
        z: Tensor,
        t: Tensor,
        cond: ClipConditioning,
        *,
        step: int | Sequence[int],
    ) -> Tensor:
        """Light step of n copies of the clip, each at its own step.

        Raises:
            CacheError: the cache belongs to another identity or shape.
        """
        copies, steps = len(z), (step,) if isinstance(step, int) else step
        self._check(cache, z, cond)
        out = []
        for k, own_step in enumerate(steps):
            source = self._sources(cache.step, own_step)
            mean = _Mean(self, z[k : k + 1])
            for number, window in enumerate(self.windows_at(own_step)):
                own_z, own_cond = self._inputs(z[k : k + 1], cond, window)
                part = self._part(cache, copies, k, source[number])
                v = self.raw.light(part, own_z, t[k : k + 1], own_cond, step=own_step)
                mean.add(window, v)
            out.append(mean.guided())
        return torch.cat(out)

    def collate(self, conditionings: Sequence[ClipConditioning]) -> ClipConditioning:
        """The conditioning of one clip.

        Raises:
            CacheError: there are several.
        """
        if len(conditionings) != 1:
            raise CacheError(
                f"expected one clip, got {len(conditionings)}; run clips one by one",
                code="stale_cache",
            )
        return conditionings[0]

    # ---- rows of windows -------------------------------------------------------------------------

    def _inputs(
        self, z: Tensor, cond: ClipConditioning, window: list[int]
    ) -> tuple[Tensor, EchoMimicConditioning]:
        """Latents and conditioning of one window."""
        num_branches, index = self.inner.num_branches, torch.tensor(window, device=z.device)
        own_cond = EchoMimicConditioning(
            identity_ids=cond.identity_ids[:1],
            face_tokens=cond.face_tokens,
            frames=len(window),
            num_branches=num_branches,
            last_layer=self.last_layer,
            reference_kv=cond.reference_kv,
            audio_kv=map_tensors(
                lambda rows: zeros_for_uncond(rows.index_select(0, index), num_branches),
                cond.audio_kv,
            ),
            face=cond.face,
        )
        return z.index_select(2, index), own_cond

    def _cat_branches(self, *parts: Tensor) -> Tensor:
        """Rows [num_branches * f] of every window -> [num_branches * windows * f]."""
        branches = zip(*(part.chunk(self.inner.num_branches) for part in parts), strict=True)
        return torch.cat([part for branch in branches for part in branch])

    def _part(self, cache: FeatureCache, copies: int, k: int, source: list[int]) -> FeatureCache:
        """What the frames of a window of copy ``k`` take of a cache, rows [num_branches * f]."""

        def take(rows: Tensor) -> Tensor:
            own = rows.view(self.inner.num_branches, copies, -1, *rows.shape[1:])[:, k]
            index = torch.tensor(source, device=rows.device)
            return own.index_select(1, index).flatten(0, 1)

        return replace(map_tensors(take, cache), identity_ids=cache.identity_ids[:1])

    def _sources(self, key: int, step: int) -> list[list[int]]:
        """For each frame of each window, the row of the key step's windows that it takes."""
        key_windows, length = self.windows_at(key), len(self.base[0])
        positions = [{frame: k for k, frame in enumerate(window)} for window in key_windows]
        sources = []
        for number, window in enumerate(self.windows_at(step)):
            ring = [(number + k) % len(key_windows) for k in range(len(key_windows))]
            rows = []
            for frame in window:
                holder = next(k for k in ring if frame in positions[k])
                rows.append(holder * length + positions[holder][frame])
            sources.append(rows)
        return sources

    def _check(self, cache: FeatureCache, z: Tensor, cond: ClipConditioning) -> None:
        rows = len(z) * self.inner.num_branches * sum(map(len, self.base))
        if cache.identity_ids != cond.identity_ids or len(cache.hidden) != rows:
            raise CacheError(
                f"the cache holds {len(cache.hidden)} frames of {cache.identity_ids}, expected"
                f" {rows} of {cond.identity_ids}; run a key step first",
                code="stale_cache",
            )


class _Mean:
    """Predictions of a clip, averaged per frame over the windows that held it."""

    def __init__(self, windows: EchoMimicWindows, z: Tensor) -> None:
        self.windows, self.z = windows, z
        self.total = z.new_zeros(windows.inner.num_branches, *z.shape[1:])
        self.count = torch.zeros(z.shape[2], device=z.device)

    def add(self, window: list[int], v: Tensor) -> None:
        """One window's raw prediction [num_branches, C, f, H, W]."""
        index = torch.tensor(window, device=v.device)
        self.total.index_add_(2, index, v)
        self.count.index_add_(0, index, torch.ones(len(window), device=v.device))

    def guided(self) -> Tensor:
        """The clip's prediction [1, C, F, H, W]."""
        mean = self.total
        if self.windows.counted:
            mean = mean / self.count[:, None, None]
        return apply_guidance(mean, self.windows.inner.guidance, 1)


class _Raw(EchoMimicDenoiser):
    """The same network, its branches not joined."""

    def __init__(self, inner: EchoMimicDenoiser) -> None:
        super().__init__(inner.spec, inner.network, inner.guidance, inner.without_reference)

    def postprocess(self, out: Tensor, z: Tensor) -> Tensor:
        """[num_branches, C, F, H, W]."""
        return unfold_frames(out, z)
