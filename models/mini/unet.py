"""``mini``: the bundled talking-head denoiser, a few million parameters, real time on a CPU.

A small UNet of the published family at 32, 16 and 8 cells. Its last up block has three layers; the
third, U32, has resnet, reference attention, audio attention and temporal attention, and is all that
light steps run. Its differences from the published models:

* the output is anchored on the reference latent with a per-cell sigma (``prior.py``), so that the
  background cannot drift and chunks need no motion frames;
* head pose, blink, gaze and brows, and mouth units heard in the speech, are explicit conditions,
  told to every resnet and drawn as a map in face coordinates (``layers.py``);
* reference features are added at every resolution besides being attended to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.lightning.cache import FeatureCache
from models.lightning.schedule import make_schedule
from models.mini.conditioning import MiniConditioning, Reference, collate
from models.mini.config import MiniSpec
from models.mini.layers import (
    AudioTokens,
    ExpressionField,
    FaceLayer,
    FaceWidths,
    MiniDownsample,
    MiniUpsample,
    ResnetBlock,
)
from models.mini.prior import Prior, precondition, v_from_output
from models.nn.attention import Context, CrossAttention
from models.nn.embedding import bands, timestep_embedding

ATTENTION = "attention"  # the name of what U32's three attentions add, in a cache
GEOMETRY = 5  # constant input planes: face mask, mouth, eyes, and the two coordinates
PLACES = slice(3, 5)  # of them the coordinates


class Entry(NamedTuple):
    """What a network call begins with.

    Attributes:
        x: the state as the network sees it, [B * F, C, H, W].
        embedding: conditions every resnet, [B * F, E].
        state: z with frames before channels, [B, F, C, H, W]; a, s: its amplitudes.
    """

    x: Tensor
    embedding: Tensor
    state: Tensor
    a: Tensor
    s: Tensor


class MiniUNet(nn.Module):
    """The network; ``full`` and ``light`` are the two entries that the sampler uses."""

    float32_buffers = ("signal", "noise")

    def __init__(self, spec: MiniSpec) -> None:
        super().__init__()
        self.spec = spec
        self._add_conditions(spec)
        self._add_reference(spec)
        self._add_trunk(spec)
        schedule = make_schedule(spec.schedule)
        self.register_buffer("signal", schedule.alpha, persistent=False)
        self.register_buffer("noise", schedule.sigma, persistent=False)
        self.register_buffer("time_table", None, persistent=False)
        self.signal: Tensor
        self.noise: Tensor
        self.time_table: Tensor | None

    def _add_conditions(self, spec: MiniSpec) -> None:
        e = spec.embedding
        self.time = nn.Sequential(nn.Linear(spec.time_channels, e), nn.SiLU(), nn.Linear(e, e))
        self.frame = nn.Parameter(torch.randn(spec.chunk_frames, e) * 0.1)
        told = (spec.mouth_units + spec.motion) * (1 + 2 * spec.octaves)
        self.units = nn.Sequential(nn.Linear(told, 2 * e), nn.SiLU(), nn.Linear(2 * e, e))
        self.field = ExpressionField(
            e, spec.templates, spec.channels[0], spec.template_side, spec.template_reach
        )
        self.audio = AudioTokens(
            spec.audio_features, spec.audio_window, spec.mouth_units, spec.audio_channels, e
        )

    def _add_reference(self, spec: MiniSpec) -> None:
        c32, c16, c8 = spec.channels
        self.ref_in = nn.Conv2d(spec.latent[0] + GEOMETRY, c32, 3, padding=1)
        self.ref_down16 = MiniDownsample(c32, c16)
        self.ref_mid16 = nn.Conv2d(c16, c16, 3, padding=1)
        self.ref_down8 = MiniDownsample(c16, c8)
        self.ref_position = nn.Parameter(torch.randn(spec.reference_grid**2, c16) * 0.1)

    def _add_trunk(self, spec: MiniSpec) -> None:
        (c32, c16, c8), (h32, h16, h8), e = spec.channels, spec.heads, spec.embedding
        widths = FaceWidths(e, c16, spec.audio_channels, spec.chunk_frames)
        self.conv_in = nn.Conv2d(spec.latent[0], c32, 3, padding=1)
        self.down32 = ResnetBlock(c32, c32, e)
        self.to16 = MiniDownsample(c32, c16)
        self.down16 = ResnetBlock(c16, c16, e)
        self.to8 = MiniDownsample(c16, c8)
        self.down8 = FaceLayer(c8, c8, h8, widths)
        self.mid = FaceLayer(c8, c8, h8, widths)
        self.up8 = FaceLayer(2 * c8, c8, h8, widths)
        self.from8 = MiniUpsample(c8, c16)
        self.up16 = FaceLayer(2 * c16, c16, h16, widths)
        self.from16 = MiniUpsample(c16, c32)
        self.u30 = ResnetBlock(2 * c32, c32, e)
        self.u31 = ResnetBlock(c32, c32, e)
        self.u32 = FaceLayer(2 * c32, c32, h32, widths)
        self.norm_out = nn.GroupNorm(8, c32)
        self.conv_out = nn.Conv2d(c32, spec.latent[0], 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        if self.conv_out.bias is not None:
            nn.init.zeros_(self.conv_out.bias)

    @torch.no_grad()
    def fuse(self) -> None:
        """Prepare the fast forms of the same mathematics; for inference, after loading and casting.

        Time is looked up in a table, contexts of attention are folded, temporal attention is fused.
        The network cannot be trained any more.
        """
        steps = torch.arange(self.spec.schedule.train_steps, device=self.signal.device)
        embedded = timestep_embedding(steps, self.spec.time_channels).to(self.conv_in.weight.dtype)
        self.time_table = self.time(embedded)
        for layer in self.face_layers().values():
            layer.temporal.fuse()

    # ---- what is computed once -------------------------------------------------------------------

    def face_layers(self) -> dict[str, FaceLayer]:
        """The layers with attention, by name, in the order they run."""
        return {
            "down8": self.down8,
            "mid": self.mid,
            "up8": self.up8,
            "up16": self.up16,
            "u32": self.u32,
        }

    def reference(self, identity_ids: Sequence[str], anchor: Prior, geometry: Tensor) -> Reference:
        """Reference features of B identities: once per identity.

        Args:
            identity_ids: content keys, B of them.
            anchor: reference latents and sigmas.
            geometry: constant planes [B, 5, H, W] from ``prior.geometry_planes``.
        """
        latents = anchor.latent[:, 0].to(geometry.dtype)
        r32 = self.ref_in(torch.cat([latents, geometry], dim=1))
        r16 = self.ref_mid16(F.silu(self.ref_down16(F.silu(r32))))
        r8 = self.ref_down8(F.silu(r16))
        pooled = F.adaptive_avg_pool2d(r16, self.spec.reference_grid).flatten(2).transpose(1, 2)
        tokens = pooled + self.ref_position
        kv = {n: self._context(f.reference, tokens) for n, f in self.face_layers().items()}
        return Reference(tuple(identity_ids), anchor, (r32, r16, r8), geometry[:, PLACES], kv)

    def condition(
        self, reference: Reference, features: Tensor, mouth: Tensor, motion: Tensor
    ) -> MiniConditioning:
        """Conditions of B chunks: once per chunk, the same at every step.

        Args:
            reference: of the B identities.
            features: normalised speech features [B, F, W, D].
            mouth: mouth units [B, F, U]; motion: head pose, blink, gaze, brow [B, F, M].
        """
        frames = features.shape[1]
        tokens, heard = self.audio(features, mouth)
        told = bands(torch.cat([mouth, motion], dim=-1), self.spec.octaves)
        vector = heard + self.units(told) + self.frame[:frames]
        drawn = self.field(vector, reference.places) + reference.maps[0][:, None]
        drawn = drawn.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        kv = {n: self._context(f.audio, tokens) for n, f in self.face_layers().items()}
        return MiniConditioning(reference, vector, drawn, kv, frames)

    def _context(self, attention: CrossAttention, tokens: Tensor) -> Context:
        """What ``attention`` attends to; folded once the network is fused."""
        kv = attention.project(tokens)
        return kv if self.time_table is None else attention.fold(kv)

    # ---- what runs at every step -----------------------------------------------------------------

    def full(
        self, z: Tensor, t: Tensor, cond: MiniConditioning, *, step: int = 0, keep: bool = False
    ) -> tuple[Tensor, FeatureCache]:
        """Key step: v-prediction [B, C, F, H, W] in float32, and the cache for light steps."""
        entry = self.enter(z, t, cond)
        out, hidden, added = self.full_body(entry.x, entry.embedding, cond)
        kept = {ATTENTION: added} if keep else None
        return self.leave(out, entry, cond), FeatureCache(
            hidden, kept, cond.identity_ids, step=step
        )

    def light(
        self,
        cache: FeatureCache,
        z: Tensor,
        t: Tensor,
        cond: MiniConditioning,
        *,
        step: int | Sequence[int] = 0,
    ) -> Tensor:
        """Light step: conv_in, U32 and conv_out from the cached hidden state.

        Raises:
            CacheError: the cache belongs to other identities or to another batch shape.
        """
        cache.check(cond.identity_ids, z)
        entry = self.enter(z, t, cond)
        background = cache.background[ATTENTION] if cache.background else None
        out, _ = self.light_body(cache.hidden, background, *entry[:2], cond)
        return self.leave(out, entry, cond)

    def collate(self, conditions: Sequence[MiniConditioning]) -> MiniConditioning:
        """Conditions of single chunks -> the condition of their batch."""
        return collate(conditions)

    # ---- its pieces: what an engine compiles, and the exact arithmetic around it -----------------

    def enter(self, z: Tensor, t: Tensor, cond: MiniConditioning) -> Entry:
        """Normalise the state, in float32, and embed time among the conditions."""
        a, s = self.signal[t].view(-1, 1, 1, 1, 1), self.noise[t].view(-1, 1, 1, 1, 1)
        state = z.transpose(1, 2)
        dtype = self.conv_in.weight.dtype
        x = precondition(state, a, s, cond.reference.anchor).flatten(0, 1)
        x = x.to(dtype, memory_format=torch.channels_last)
        if self.time_table is not None:
            time = self.time_table[t]
        else:
            time = self.time(timestep_embedding(t, self.spec.time_channels).to(dtype))
        embedding = F.silu(time[:, None] + cond.vector).flatten(0, 1)
        return Entry(x, embedding, state, a, s)

    def full_body(
        self, x: Tensor, e: Tensor, cond: MiniConditioning
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The whole network: output, hidden state before U32, and what attention added in U32."""
        h0 = self._first(x, cond)
        hidden = self._trunk(h0, e, cond)
        out, added = self._last(hidden, None, h0, e, cond)
        return out, hidden, added

    def light_body(
        self,
        hidden: Tensor,
        background: Tensor | None,
        x: Tensor,
        e: Tensor,
        cond: MiniConditioning,
    ) -> tuple[Tensor, Tensor]:
        """What is left of it in a light step: its output and what U32's attention added."""
        return self._last(hidden, background, self._first(x, cond), e, cond)

    def leave(self, out: Tensor, entry: Entry, cond: MiniConditioning) -> Tensor:
        """The network's output [B * F, C, H, W] -> the anchored v-prediction, in float32."""
        net = out.float().view(entry.state.shape)
        v = v_from_output(net, entry.state, entry.a, entry.s, cond.reference.anchor)
        return v.transpose(1, 2)

    def _first(self, x: Tensor, cond: MiniConditioning) -> Tensor:
        h0: Tensor = self.conv_in(x) + cond.drawn
        return h0

    def _trunk(self, h0: Tensor, e: Tensor, cond: MiniConditioning) -> Tensor:
        """Everything between conv_in and U32: the part that light steps skip."""
        _, r16, r8 = cond.reference.maps
        h32 = self.down32(h0, e)
        h16 = self.down16(_add_map(self.to16(h32), r16, cond.frames), e)
        h8 = self._face("down8", _add_map(self.to8(h16), r8, cond.frames), e, cond)
        h = self._face("mid", h8, e, cond)
        h = self._face("up8", torch.cat([h, h8], 1), e, cond)
        h = self._face("up16", torch.cat([self.from8(h), h16], 1), e, cond)
        h = self.u30(torch.cat([self.from16(h), h32], 1), e)
        hidden: Tensor = self.u31(h, e)
        return hidden

    def _face(self, name: str, x: Tensor, e: Tensor, cond: MiniConditioning) -> Tensor:
        layer = self.face_layers()[name]
        out: Tensor = layer(x, e, cond.reference.kv[name], cond.audio_kv[name], cond.frames)[0]
        return out

    def _last(
        self,
        hidden: Tensor,
        background: Tensor | None,
        h0: Tensor,
        e: Tensor,
        cond: MiniConditioning,
    ) -> tuple[Tensor, Tensor]:
        """U32 and conv_out."""
        h, added = self.u32(
            torch.cat([hidden, h0], 1),
            e,
            cond.reference.kv["u32"],
            cond.audio_kv["u32"],
            cond.frames,
            foreground=cond.reference.foreground,
            background=background,
        )
        return self.conv_out(F.silu(self.norm_out(h))), added


def _add_map(h: Tensor, reference: Tensor, frames: int) -> Tensor:
    """Add reference features [B, C, H, W] to all frames of their chunk, [B * F, C, H, W]."""
    return (h.view(-1, frames, *h.shape[1:]) + reference[:, None]).flatten(0, 1)
