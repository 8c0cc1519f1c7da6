"""What a plan costs: floating-point operations per frame, computed from the spec alone.

Counted as torch counts them: convolutions and matrix products, two operations per multiplication
and addition; norms, activations and softmax are not counted (they take time all the same: at this
size light steps are bound by memory as much as by arithmetic). Everything is for one frame; what
runs once for a chunk (the embedding of time) is divided by its frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from models.lightning.plan import StepPlan
from models.mini.config import MiniSpec


class Form(Enum):
    """How the same mathematics is computed."""

    PLAIN = "plain"
    """As trained: queries, keys and values are projected at every step."""
    FUSED = "fused"
    """As prepared for inference: fixed contexts folded into two products, time looked up."""


@dataclass(frozen=True)
class Flops:
    """Operations by kind of module."""

    conv: float = 0.0
    linear: float = 0.0
    attention: float = 0.0

    @property
    def total(self) -> float:
        """All kinds together."""
        return self.conv + self.linear + self.attention

    def __add__(self, other: Flops) -> Flops:
        return Flops(
            self.conv + other.conv, self.linear + other.linear, self.attention + other.attention
        )

    def __mul__(self, times: float) -> Flops:
        return Flops(self.conv * times, self.linear * times, self.attention * times)


def conv(inputs: int, outputs: int, kernel: int, cells: int) -> Flops:
    """A convolution with ``cells`` places in its output."""
    return Flops(conv=2.0 * kernel**2 * inputs * outputs * cells)


def linear(inputs: int, outputs: int, rows: float) -> Flops:
    """A linear layer applied to ``rows`` vectors."""
    return Flops(linear=2.0 * inputs * outputs * rows)


def cross_attention(channels: int, heads: int, tokens: int, context: int, form: Form) -> Flops:
    """Attention of ``tokens`` to a fixed context of ``context`` tokens."""
    if form is Form.FUSED:  # one row for each head and context token, in and out
        return Flops(attention=2.0 * 2 * tokens * heads * context * channels)
    project = linear(channels, channels, tokens)
    return project + Flops(attention=2.0 * 2 * tokens * context * channels) + project


def temporal_attention(channels: int, heads: int, tokens: int, frames: int, form: Form) -> Flops:
    """Attention of each of ``tokens`` places along ``frames`` frames."""
    project = linear(channels, 3 * channels, tokens) + linear(channels, channels, tokens)
    summed = heads if form is Form.FUSED else 1  # fused: heads are summed by a product with 0 and 1
    return project + Flops(attention=2.0 * 2 * tokens * frames * channels * summed)


def resnet(inputs: int, outputs: int, cells: int, embedding: int) -> Flops:
    """Two 3x3 convolutions, the scale and shift, and the shortcut where widths differ."""
    both = conv(inputs, outputs, 3, cells) + conv(outputs, outputs, 3, cells)
    shortcut = Flops() if inputs == outputs else conv(inputs, outputs, 1, cells)
    return both + shortcut + linear(embedding, 2 * outputs, 1)


@dataclass(frozen=True)
class MiniCost:
    """Operations of one frame of ``mini``."""

    spec: MiniSpec
    form: Form = Form.FUSED

    def full(self) -> Flops:
        """A key step."""
        return self._enter() + self._trunk() + self._leave(self._cells(1))

    def tail(self, tokens: int | None = None) -> Flops:
        """A light step; with foreground attention if a number of face ``tokens`` is given."""
        return self._enter() + self._leave(self._cells(1) if tokens is None else tokens)

    def step_of(self, plan: StepPlan, foreground_share: float) -> tuple[Flops, Flops]:
        """A key step and a light step of ``plan``; the share is of face tokens in all."""
        tokens = round(self._cells(1) * foreground_share) if plan.foreground else None
        return self.full(), self.tail(tokens)

    def _cells(self, shrink: int) -> int:
        _, height, width = self.spec.latent
        return (height // shrink) * (width // shrink)

    def _enter(self) -> Flops:
        """conv_in and, unless it is looked up, the embedding of time."""
        spec, e = self.spec, self.spec.embedding
        total = conv(spec.latent[0], spec.channels[0], 3, self._cells(1))
        if self.form is Form.PLAIN:
            share = 1 / spec.chunk_frames
            total += linear(spec.time_channels, e, share) + linear(e, e, share)
        return total

    def _trunk(self) -> Flops:
        """Everything that light steps skip."""
        (c32, c16, c8), e = self.spec.channels, self.spec.embedding
        (_, h16, h8), n32 = self.spec.heads, self._cells(1)
        n16, n8 = self._cells(2), self._cells(4)
        down = resnet(c32, c32, n32, e) + conv(c32, c16, 3, n16)
        down += resnet(c16, c16, n16, e) + conv(c16, c8, 3, n8)
        deep = self._face(c8, c8, h8, n8, n8) * 2 + self._face(2 * c8, c8, h8, n8, n8)
        up = conv(c8, c16, 3, n16) + self._face(2 * c16, c16, h16, n16, n16)
        up += conv(c16, c32, 3, n32) + resnet(2 * c32, c32, n32, e) + resnet(c32, c32, n32, e)
        return down + deep + up

    def _leave(self, tokens: int) -> Flops:
        """U32 with attention over ``tokens``, and conv_out."""
        c32, h32, cells = self.spec.channels[0], self.spec.heads[0], self._cells(1)
        out = conv(c32, self.spec.latent[0], 3, cells)
        return self._face(2 * c32, c32, h32, cells, tokens) + out

    def _face(self, inputs: int, outputs: int, heads: int, cells: int, tokens: int) -> Flops:
        spec, form = self.spec, self.form
        reference = cross_attention(outputs, heads, tokens, spec.reference_grid**2, form)
        audio = cross_attention(outputs, heads, tokens, spec.audio_window, form)
        temporal = temporal_attention(outputs, heads, tokens, spec.chunk_frames, form)
        return resnet(inputs, outputs, cells, spec.embedding) + reference + audio + temporal


def plan_cost(
    plan: StepPlan, spec: MiniSpec, foreground_share: float, form: Form = Form.FUSED
) -> Flops:
    """Operations of one frame over all steps of ``plan``.

    Args:
        foreground_share: face tokens in all tokens, 0..1; counts where the plan says dfa.
    """
    full, light = MiniCost(spec, form).step_of(plan, foreground_share)
    return full * len(plan.keys) + light * plan.light_steps


def decode_cost(spec: MiniSpec) -> Flops:
    """Latents of one frame to pixels."""
    (d0, d1), cells = spec.codec.decoder, spec.latent[1] * spec.latent[2]
    inner = conv(spec.codec.latent, d0, 3, cells) + conv(d0, d0, 3, cells) * 2
    fine = conv(d1, d1, 3, 4 * cells) * 2 + conv(d1, 48, 3, 4 * cells)
    return inner + conv(d0, 4 * d1, 1, cells) + fine


def encode_cost(spec: MiniSpec) -> Flops:
    """One portrait to latents."""
    (e0, e1), cells = spec.codec.encoder, spec.latent[1] * spec.latent[2]
    fine = conv(48, e0, 3, 4 * cells) + conv(e0, e0, 3, 4 * cells) * 2
    coarse = conv(e0, e1, 4, cells) + conv(e1, e1, 3, cells) * 2
    return fine + coarse + conv(e1, spec.codec.latent, 1, cells)
