"""``mini``: the bundled talking-head denoiser, a few million parameters, real time on a CPU.

A small UNet of the published family at 32, 16 and 8 cells. Its last up block has three layers; the
third, U32, has resnet, reference attention, audio attention and temporal attention, and is all that
light steps run. What differs from its elders:

* the output is anchored on the reference latent with a per-cell sigma (``anchor.py``), so that the
  background cannot drift and chunks need no motion frames;
* head pose, blink, gaze and brows, and mouth units heard in the speech, are explicit conditions;
* reference features are added at every resolution besides being attended to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbones.anchor import Anchor, anchored_v, normalised
from models.layers import (
    AudioAttention,
    AudioTokens,
    Downsample,
    KeyValue,
    ReferenceAttention,
    ResnetBlock,
    TemporalAttention,
    Upsample,
    timestep_embedding,
)
from models.lightning.cache import Cached
from models.lightning.foreground import merge, select
from models.lightning.schedule import make_schedule
from models.spec import MiniSpec

GEOMETRY = 5  # constant input planes: face mask, mouth, eyes, and the two coordinates


@dataclass(frozen=True)
class Reference:
    """Reference features of a batch of identities, computed once for each.

    Attributes:
        owners: content keys.
        anchor: reference latent and sigma, each [B, 1, *, H, W].
        maps: features added after the first convolution of each resolution, [B, C_r, h, w].
        kv: keys and values of every reference attention, by layer name.
        foreground: indices of face tokens at full resolution [B, K], or None for everything.
    """

    owners: tuple[str, ...]
    anchor: Anchor
    maps: tuple[Tensor, ...]
    kv: dict[str, KeyValue]
    foreground: Tensor | None = None


@dataclass(frozen=True)
class MiniCondition:
    """All that a network call needs beside latents and time, for B chunks of F frames.

    Attributes:
        reference: of the B identities.
        vector: condition embedding before time is added, [B, F, E].
        audio_kv: keys and values of every audio attention, by layer name, batch B * F.
        frames: F.
    """

    reference: Reference
    vector: Tensor
    audio_kv: dict[str, KeyValue]
    frames: int

    @property
    def owners(self) -> tuple[str, ...]:
        """Content keys of the identities, in batch order."""
        return self.reference.owners

    @property
    def foreground(self) -> Tensor | None:
        """Face token indices [B, K], or None."""
        return self.reference.foreground

    def repeat(self, n: int) -> MiniCondition:
        """The whole batch n times over, for light steps predicted in one batch."""
        if n == 1:
            return self
        return collate([self] * n)


class FaceLayer(nn.Module):
    """Resnet, reference attention, audio attention, temporal attention."""

    def __init__(self, in_channels: int, channels: int, heads: int, spec: MiniSpec) -> None:
        super().__init__()
        self.resnet = ResnetBlock(in_channels, channels, spec.embedding)
        self.reference = ReferenceAttention(channels, spec.channels[1], heads)
        self.audio = AudioAttention(channels, spec.audio_channels, heads)
        self.temporal = TemporalAttention(channels, heads, spec.chunk_frames)

    def forward(
        self,
        x: Tensor,
        embedding: Tensor,
        reference: KeyValue,
        audio: KeyValue,
        frames: int,
        *,
        foreground: Tensor | None = None,
        background: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """[B * F, C_in, H, W] -> the same with C channels, and what attention added, [B*F, HW, C].

        With ``foreground`` [B, K] and the ``background`` that a key step returned, attention runs
        over face tokens only and the others reuse the cached outputs (DFA). All three attentions
        treat query tokens one by one, so caching their sum equals caching each of them.
        """
        h = self.resnet(x, embedding)
        height, width = h.shape[2:]
        tokens = h.flatten(2).transpose(1, 2)
        if foreground is not None and background is not None:
            added = self._attend(select(tokens, foreground), reference, audio, frames)
            added = merge(background, added, foreground)
        else:
            added = self._attend(tokens, reference, audio, frames)
        out = (tokens + added).transpose(1, 2).unflatten(2, (height, width))
        return out.contiguous(memory_format=torch.channels_last), added

    def _attend(self, x: Tensor, reference: KeyValue, audio: KeyValue, frames: int) -> Tensor:
        added = self.reference(x, reference)
        added = added + self.audio(x + added, audio)
        return added + self.temporal(x + added, frames)


class MiniUNet(nn.Module):
    """The network; ``full`` and ``tail`` are the two entries that the sampler uses."""

    def __init__(self, spec: MiniSpec) -> None:
        super().__init__()
        self.spec = spec
        latent = spec.latent[0]
        c32, c16, c8 = spec.channels
        e = spec.embedding

        self.time = nn.Sequential(nn.Linear(64, e), nn.SiLU(), nn.Linear(e, e))
        self.frame = nn.Parameter(torch.randn(spec.chunk_frames, e) * 0.1)
        self.units = nn.Sequential(
            nn.Linear(spec.mouth_units + spec.motion, e), nn.SiLU(), nn.Linear(e, e)
        )
        self.audio = AudioTokens(
            spec.audio_features, spec.audio_window, spec.mouth_units, spec.audio_channels, e
        )

        self.ref_in = nn.Conv2d(latent + GEOMETRY, c32, 3, padding=1)
        self.ref_down16 = Downsample(c32, c16)
        self.ref_mid16 = nn.Conv2d(c16, c16, 3, padding=1)
        self.ref_down8 = Downsample(c16, c8)
        self.ref_position = nn.Parameter(torch.randn(spec.reference_grid**2, c16) * 0.1)

        self.conv_in = nn.Conv2d(latent, c32, 3, padding=1)
        self.down32 = ResnetBlock(c32, c32, e)
        self.to16 = Downsample(c32, c16)
        self.down16 = ResnetBlock(c16, c16, e)
        self.to8 = Downsample(c16, c8)
        self.down8 = FaceLayer(c8, c8, 4, spec)
        self.mid = FaceLayer(c8, c8, 4, spec)
        self.up8 = FaceLayer(2 * c8, c8, 4, spec)
        self.from8 = Upsample(c8, c16)
        self.up16 = FaceLayer(2 * c16, c16, 2, spec)
        self.from16 = Upsample(c16, c32)
        self.u30 = ResnetBlock(2 * c32, c32, e)
        self.u31 = ResnetBlock(c32, c32, e)
        self.u32 = FaceLayer(2 * c32, c32, 2, spec)
        self.norm_out = nn.GroupNorm(8, c32)
        self.conv_out = nn.Conv2d(c32, latent, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]

        schedule = make_schedule(spec.schedule)
        self.register_buffer("signal", schedule.a, persistent=False)
        self.register_buffer("noise", schedule.s, persistent=False)
        self.signal: Tensor
        self.noise: Tensor

    # ---- what is computed once -------------------------------------------------------------------

    def face_layers(self) -> dict[str, FaceLayer]:
        """The layers with attention, by name, in the order they run."""
        names = ("down8", "mid", "up8", "up16", "u32")
        return {name: self.get_submodule(name) for name in names}  # type: ignore[misc]

    def reference(self, owners: Sequence[str], anchor: Anchor, geometry: Tensor) -> Reference:
        """Reference features of B identities: once per identity.

        Args:
            owners: content keys, B of them.
            anchor: reference latents and sigmas.
            geometry: constant planes [B, 5, H, W] from ``anchor.geometry_planes``.
        """
        latents = anchor.latent[:, 0].to(geometry.dtype)
        r32 = self.ref_in(torch.cat([latents, geometry], dim=1))
        r16 = self.ref_mid16(F.silu(self.ref_down16(F.silu(r32))))
        r8 = self.ref_down8(F.silu(r16))
        pooled = F.adaptive_avg_pool2d(r16, self.spec.reference_grid).flatten(2).transpose(1, 2)
        tokens = pooled + self.ref_position
        kv = {name: layer.reference.project(tokens) for name, layer in self.face_layers().items()}
        return Reference(tuple(owners), anchor, (r32, r16, r8), kv)

    def condition(
        self, reference: Reference, features: Tensor, mouth: Tensor, motion: Tensor
    ) -> MiniCondition:
        """Conditions of B chunks: once per chunk, the same at every step.

        Args:
            reference: of the B identities.
            features: normalised speech features [B, F, W, D].
            mouth: mouth units [B, F, U]; motion: head pose, blink, gaze, brow [B, F, M].
        """
        frames = features.shape[1]
        tokens, heard = self.audio(features, mouth)
        vector = heard + self.units(torch.cat([mouth, motion], dim=-1)) + self.frame[:frames]
        kv = {name: layer.audio.project(tokens) for name, layer in self.face_layers().items()}
        return MiniCondition(reference, vector, kv, frames)

    # ---- what runs at every step -----------------------------------------------------------------

    def full(
        self, z: Tensor, t: Tensor, cond: MiniCondition, *, keep: bool = False
    ) -> tuple[Tensor, Cached]:
        """Key step: v-prediction [B, C, F, H, W] in float32, and the cache for light steps."""
        h0, embedding = self._enter(z, t, cond)
        hidden = self._trunk(h0, embedding, cond)
        v, added = self._leave(hidden, h0, embedding, z, t, cond)
        return v, Cached(hidden, added if keep else None, cond.owners)

    def tail(self, cached: Cached, z: Tensor, t: Tensor, cond: MiniCondition) -> Tensor:
        """Light step: conv_in, U32 and conv_out from the cached hidden state.

        Raises:
            CacheError: the cache belongs to other identities or to another batch shape.
        """
        cached.check(cond.owners, z)
        h0, embedding = self._enter(z, t, cond)
        v, _ = self._leave(cached.hidden, h0, embedding, z, t, cond, cached.background)
        return v

    def collate(self, conditions: Sequence[MiniCondition]) -> MiniCondition:
        """Conditions of single chunks -> the condition of their batch."""
        return collate(conditions)

    def _enter(self, z: Tensor, t: Tensor, cond: MiniCondition) -> tuple[Tensor, Tensor]:
        """conv_in and the embedding that conditions every resnet, [B*F, C, H, W] and [B*F, E]."""
        frames = cond.frames
        x = normalised(z.transpose(1, 2), *self._amplitudes(t), cond.reference.anchor)
        dtype = self.conv_in.weight.dtype
        x = x.flatten(0, 1).to(dtype, memory_format=torch.channels_last)
        reference = cond.reference.maps[0].repeat_interleave(frames, 0)
        h0 = self.conv_in(x) + reference
        time = self.time(timestep_embedding(t, 64).to(dtype))
        return h0, F.silu(time[:, None] + cond.vector).flatten(0, 1)

    def _trunk(self, h0: Tensor, e: Tensor, cond: MiniCondition) -> Tensor:
        """Everything between conv_in and U32: the part that light steps skip."""
        frames = cond.frames
        _, r16, r8 = (m.repeat_interleave(frames, 0) for m in cond.reference.maps)
        h32 = self.down32(h0, e)
        h16 = self.down16(self.to16(h32) + r16, e)
        h8 = self._face("down8", self.to8(h16) + r8, e, cond)
        h = self._face("mid", h8, e, cond)
        h = self._face("up8", torch.cat([h, h8], 1), e, cond)
        h = self._face("up16", torch.cat([self.from8(h), h16], 1), e, cond)
        h = self.u30(torch.cat([self.from16(h), h32], 1), e)
        return self.u31(h, e)

    def _leave(
        self,
        hidden: Tensor,
        h0: Tensor,
        e: Tensor,
        z: Tensor,
        t: Tensor,
        cond: MiniCondition,
        background: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """U32 and conv_out, then the anchored v-prediction in float32."""
        h, added = self.u32(
            torch.cat([hidden, h0], 1),
            e,
            cond.reference.kv["u32"],
            cond.audio_kv["u32"],
            cond.frames,
            foreground=cond.foreground,
            background=background,
        )
        out = self.conv_out(F.silu(self.norm_out(h))).float().unflatten(0, (-1, cond.frames))
        v = anchored_v(out, z.transpose(1, 2), *self._amplitudes(t), cond.reference.anchor)
        return v.transpose(1, 2), added

    def _face(self, name: str, x: Tensor, e: Tensor, cond: MiniCondition) -> Tensor:
        layer = self.get_submodule(name)
        return layer(x, e, cond.reference.kv[name], cond.audio_kv[name], cond.frames)[0]

    def _amplitudes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        shape = (-1, 1, 1, 1, 1)
        return self.signal[t].view(shape), self.noise[t].view(shape)


def collate(conditions: Sequence[MiniCondition]) -> MiniCondition:
    """Concatenate along the batch; a foreground is kept when every condition has one.

    Foregrounds of different length are padded by repeating their last index: attention treats
    query tokens one by one, so a repeated token only writes the same result twice.
    """
    if len(conditions) == 1:
        return conditions[0]
    references = [c.reference for c in conditions]
    anchor = Anchor(
        torch.cat([r.anchor.latent for r in references]),
        torch.cat([r.anchor.sigma for r in references]),
    )
    maps = tuple(torch.cat(level) for level in zip(*(r.maps for r in references), strict=True))
    reference = Reference(
        tuple(owner for r in references for owner in r.owners),
        anchor,
        maps,
        _cat_kv([r.kv for r in references]),
        _pad_foregrounds([r.foreground for r in references]),
    )
    vector = torch.cat([c.vector for c in conditions])
    kv = _cat_kv([c.audio_kv for c in conditions])
    return MiniCondition(reference, vector, kv, conditions[0].frames)


def _cat_kv(items: Sequence[dict[str, KeyValue]]) -> dict[str, KeyValue]:
    return {
        name: KeyValue(
            torch.cat([item[name].key for item in items]),
            torch.cat([item[name].value for item in items]),
        )
        for name in items[0]
    }


def _pad_foregrounds(foregrounds: Sequence[Tensor | None]) -> Tensor | None:
    present = [f for f in foregrounds if f is not None]
    if len(present) != len(foregrounds):
        return None
    longest = max(f.shape[1] for f in present)
    return torch.cat(
        [torch.cat([f, f[:, -1:].expand(-1, longest - f.shape[1])], dim=1) for f in present]
    )
