"""EchoMimic's published loop over a whole clip: ring windows that walk by two frames a step.

Windows of f frames begin every f - overlap frames of the clip, modulo its length F, so that the
last ones wrap to the first frames. At step s every frame number is shifted by 2 s. The network
runs window by window, predictions are averaged per frame, and guidance follows.

Light steps (the walk makes a cached hidden state belong to other frames than the same window's at
the next step): a key step leaves the hidden states of all frames of all windows; in a light step
each frame takes its own from the window of the same number if that one held the frame at the key
step, else from the next window of the ring that did. A light step at the key step's own position
thus finds exactly what the key step left.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from models.echomimic.conditioning import EchoMimicDenoiser
from models.errors import CacheError
from models.lightning.cache import FeatureCache
from models.lightning.schedule import make_trajectory
from models.nn.attention import KeyValue
from models.sd15.cfg import SD15Conditioning, apply_guidance, map_tensors

WALK = 2  # frames that windows move at each step
Windows = list[list[int]]


def ring_windows(frames: int, window: int, overlap: int) -> Windows:
    """Frame numbers of every window at the first step."""
    if frames <= window:
        return [list(range(frames))]
    starts = range(0, frames, window - overlap)
    return [[(start + k) % frames for k in range(window)] for start in starts]


@dataclass(frozen=True)
class ClipConditioning:
    """What a whole clip's calls need.

    Attributes:
        identity_ids: the identity's content key, once for each copy of the clip in the batch.
        foreground: face token indices [1, K] or None.
        bank: keys and values of the reference, by path.
        face: located face, of both halves [num_branches, C, H, W].
        audio: keys and values of every frame's sound [F, ...], by path.
        copies: of the clip in the batch.
    """

    identity_ids: tuple[str, ...]
    foreground: Tensor | None
    bank: Mapping[str, KeyValue]
    face: Tensor
    audio: Mapping[str, KeyValue]
    copies: int = 1

    def repeat(self, n: int) -> ClipConditioning:
        """For n light steps in one batch."""
        return replace(self, identity_ids=self.identity_ids * n, copies=self.copies * n)


class EchoMimicWindows:
    """A whole clip as the sampler's backbone.

    Args:
        inner: runs one window; its guidance and schedule hold.
        steps: T, by which a time is known as a step.
        frames: F of the clip; window: f; overlap: of neighbouring windows.
        counted: divide by how many windows held a frame. The published code of EchoMimic without
            guidance does not, a defect that only replays need.
    """

    def __init__(
        self,
        inner: EchoMimicDenoiser,
        steps: int,
        frames: int,
        *,
        window: int = 12,
        overlap: int = 3,
        counted: bool = True,
    ) -> None:
        self.inner, self.frames, self.counted = inner, frames, counted
        self.spec, self.raw = inner.spec, _Raw(inner)
        self.base = ring_windows(frames, window, overlap)
        times = make_trajectory(inner.spec.schedule, steps).times
        self._step_of = {time: step for step, time in enumerate(times)}

    def on(self, inner: Any) -> EchoMimicWindows:
        """The same windows run by a replica of the backbone."""
        other = copy.copy(self)
        other.inner, other.raw = inner, _Raw(inner)
        return other

    def condition(self, cond: SD15Conditioning) -> ClipConditioning:
        """From a condition of all the clip's frames, as ``EchoMimicDenoiser.hearing`` gives it."""
        last = self.frames * (cond.num_branches - 1)
        audio = map_tensors(lambda rows: rows[last:], cond.parts["audio"])
        return ClipConditioning(
            cond.identity_ids, cond.foreground, cond.shared["bank"], cond.parts["face"], audio
        )

    def at(self, step: int) -> Windows:
        """Frame numbers of every window at a step."""
        return [[(frame + WALK * step) % self.frames for frame in window] for window in self.base]

    def full(
        self, z: Tensor, t: Tensor, cond: ClipConditioning, *, keep: bool = False
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
        step, parts = self._step(t[0]), []
        mean = _Mean(self, z)
        for window in self.at(step):
            rows, told = self._inputs(z, t, cond, window)
            v, cached = self.raw.full(rows, t, told, keep=keep)
            parts.append(cached)
            mean.add(window, v)
        background = None
        if keep:
            names = parts[0].background or {}
            background = {
                name: self._rows([(part.background or {})[name] for part in parts])
                for name in names
            }
        hidden = self._rows([part.hidden for part in parts])
        cached = FeatureCache(
            hidden,
            background,
            cond.identity_ids,
            self.inner.num_branches,
            {"step": torch.tensor([step])},
        )
        return mean.guided(), cached

    def tail(self, cached: FeatureCache, z: Tensor, t: Tensor, cond: ClipConditioning) -> Tensor:
        """Light step of n copies of the clip, each at its own time.

        Raises:
            CacheError: the cache belongs to another identity or shape.
        """
        copies, key = len(z), int(cached.carried["step"][0])
        self._check(cached, z, cond)
        out = []
        for k, step in enumerate([self._step(time) for time in t]):
            source = self._sources(key, step)
            mean = _Mean(self, z[k : k + 1])
            for number, window in enumerate(self.at(step)):
                rows, told = self._inputs(z[k : k + 1], t[k : k + 1], cond, window)
                here = self._part(cached, copies, k, source[number])
                mean.add(window, self.raw.tail(here, rows, t[k : k + 1], told))
            out.append(mean.guided())
        return torch.cat(out)

    def collate(self, conditions: Sequence[ClipConditioning]) -> ClipConditioning:
        """The condition of one clip.

        Raises:
            CacheError: there are several.
        """
        if len(conditions) != 1:
            raise CacheError(
                f"expected one clip, got {len(conditions)}; run clips one by one",
                code="stale_cache",
            )
        return conditions[0]

    # ---- rows of windows -------------------------------------------------------------------------

    def _inputs(
        self, z: Tensor, t: Tensor, cond: ClipConditioning, window: list[int]
    ) -> tuple[Tensor, SD15Conditioning]:
        """Latents and condition of one window."""
        num_branches, index = self.inner.num_branches, torch.tensor(window, device=z.device)

        def heard(rows: Tensor) -> Tensor:
            here = rows.index_select(0, index)
            return torch.cat([torch.zeros_like(here)] * (num_branches - 1) + [here])

        parts = {"audio": map_tensors(heard, dict(cond.audio)), "face": cond.face}
        told = self.inner.condition(
            cond.identity_ids[0], cond.foreground, parts, {"bank": cond.bank}, len(window)
        )
        return z.index_select(2, index), told

    def _rows(self, parts: list[Tensor]) -> Tensor:
        """Rows [num_branches * f] of every window -> [num_branches * windows * f]."""
        num_branches = self.inner.num_branches
        return torch.cat(
            [part.chunk(num_branches)[half] for half in range(num_branches) for part in parts]
        )

    def _part(self, cached: FeatureCache, copies: int, k: int, source: list[int]) -> FeatureCache:
        """What a window's frames take of a cache, rows [num_branches, f]."""
        num_branches = self.inner.num_branches

        def take(rows: Tensor) -> Tensor:
            each = rows.view(num_branches, copies, -1, *rows.shape[1:])[:, k]
            index = torch.tensor(source, device=rows.device)
            return each.index_select(1, index).flatten(0, 1)

        background = cached.background
        if background is not None:
            background = {name: take(kept) for name, kept in background.items()}
        return FeatureCache(take(cached.hidden), background, cached.identity_ids[:1], num_branches)

    def _sources(self, key: int, step: int) -> list[list[int]]:
        """For each frame of each window, the row of the key step's windows that it takes."""
        before, length = self.at(key), len(self.base[0])
        places = [{frame: k for k, frame in enumerate(window)} for window in before]
        found = []
        for number, window in enumerate(self.at(step)):
            ring = [(number + k) % len(before) for k in range(len(before))]
            rows = []
            for frame in window:
                holder = next(k for k in ring if frame in places[k])
                rows.append(holder * length + places[holder][frame])
            found.append(rows)
        return found

    def _step(self, t: Tensor) -> int:
        return self._step_of[type(next(iter(self._step_of)))(t)]

    def _check(self, cached: FeatureCache, z: Tensor, cond: ClipConditioning) -> None:
        rows = len(z) * self.inner.num_branches * sum(map(len, self.base))
        if cached.identity_ids != cond.identity_ids or len(cached.hidden) != rows:
            raise CacheError(
                f"the cache holds {len(cached.hidden)} frames of {cached.identity_ids}, expected"
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
    """The same network, with its halves not joined."""

    def __init__(self, inner: EchoMimicDenoiser) -> None:
        super().__init__(inner.spec, inner.network, inner.guidance, inner.without_reference)

    def leave(self, out: Tensor, z: Tensor) -> Tensor:
        """[num_branches, C, F, H, W]."""
        return out.to(z.dtype).view(-1, z.shape[2], *out.shape[1:]).transpose(1, 2)
