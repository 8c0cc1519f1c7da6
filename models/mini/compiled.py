"""``mini`` run by an engine: the network's body is compiled, the exact arithmetic around it is not.

Normalising the state and anchoring the prediction stay in float32 PyTorch: in half precision their
differences of large numbers would show. Programs have the shapes of one stream; a batch runs row by
row, which on a CPU costs nothing (a step of one stream fills the cores).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from models.lightning.cache import FeatureCache
from models.mini.conditioning import MiniConditioning, Reference, collate
from models.mini.config import MiniSpec
from models.mini.prior import Prior
from models.mini.unet import ATTENTION, Entry, MiniUNet
from models.nn.attention import Context, Folded
from models.runtime.eager import for_inference
from models.runtime.engine import Engine, Program

LAST = ("u32",)
FOREGROUND_LENGTH = (2, 1)  # input and axis of it in ForegroundBody; identities differ in it


class CompiledMini:
    """Implements ``models.lightning.denoiser.Denoiser`` with a ``MiniUNet`` that an engine runs.

    Programs are compiled when they are first needed: a full step's, and for light steps one with
    and one without foreground attention.
    """

    def __init__(self, net: MiniUNet, engine: Engine) -> None:
        self.net = for_inference(net, torch.float32)
        self.engine = engine
        self._programs: dict[str, Program] = {}

    @property
    def spec(self) -> MiniSpec:
        """The row that describes the network."""
        return self.net.spec

    def reference(self, identity_ids: Sequence[str], anchor: Prior, geometry: Tensor) -> Reference:
        """Reference features of B identities; see ``MiniUNet.reference``."""
        return self.net.reference(identity_ids, anchor, geometry)

    def condition(
        self, reference: Reference, features: Tensor, mouth: Tensor, motion: Tensor
    ) -> MiniConditioning:
        """Conditions of B chunks; see ``MiniUNet.condition``."""
        return self.net.condition(reference, features, mouth, motion)

    def collate(self, conditions: Sequence[MiniConditioning]) -> MiniConditioning:
        """Conditions of single chunks -> the condition of their batch."""
        return collate(conditions)

    def full(
        self, z: Tensor, t: Tensor, cond: MiniConditioning, *, step: int = 0, keep: bool = False
    ) -> tuple[Tensor, FeatureCache]:
        """Key step; see ``MiniUNet.full``."""
        entry, layers = self.net.enter(z, t, cond), tuple(self.net.face_layers())

        def inputs(row: int) -> tuple[Tensor, ...]:
            return (*_row_of(entry, row, cond.frames), *flatten(cond, layers, row))

        out, hidden, added = self._each("full", len(z), inputs, lambda: FullBody(self.net))
        v = self.net.leave(out, entry, cond)
        kept = {ATTENTION: added} if keep else None
        return v, FeatureCache(hidden, kept, cond.identity_ids, step=step)

    def light(
        self,
        cache: FeatureCache,
        z: Tensor,
        t: Tensor,
        cond: MiniConditioning,
        *,
        step: int | Sequence[int] = 0,
    ) -> Tensor:
        """Light step; see ``MiniUNet.light``.

        Raises:
            CacheError: the cache belongs to other identities or to another batch shape.
        """
        cache.check(cond.identity_ids, z)
        entry, frames = self.net.enter(z, t, cond), cond.frames
        background = cache.background[ATTENTION] if cache.background else None
        foreground = cond.reference.foreground

        def inputs(row: int) -> tuple[Tensor, ...]:
            span = slice(row * frames, (row + 1) * frames)
            rest = (*_row_of(entry, row, frames), *flatten(cond, LAST, row))
            if background is None or foreground is None:
                return (cache.hidden[span], *rest)
            return (cache.hidden[span], background[span], foreground[row, None], *rest)

        if background is None or foreground is None:
            (out,) = self._each("light", len(z), inputs, lambda: LightBody(self.net))
        else:
            (out,) = self._each("foreground", len(z), inputs, lambda: ForegroundBody(self.net))
        return self.net.leave(out, entry, cond)

    def _each(
        self,
        name: str,
        rows: int,
        inputs: Callable[[int], tuple[Tensor, ...]],
        make: Callable[[], nn.Module],
    ) -> tuple[Tensor, ...]:
        """Run a program on every row of a batch; outputs are concatenated again."""
        if name not in self._programs:
            free = (FOREGROUND_LENGTH,) if name == "foreground" else ()
            self._programs[name] = self.engine.compile(make(), inputs(0), free)
        results = [self._programs[name](*inputs(row)) for row in range(rows)]
        if rows == 1:
            return results[0]
        return tuple(torch.cat(parts) for parts in zip(*results, strict=True))


class FullBody(nn.Module):
    """``MiniUNet.full_body`` of one stream with its conditions as plain tensors."""

    def __init__(self, net: MiniUNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, e: Tensor, *context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """State and embedding, then what ``flatten`` gave -> output, hidden state, added."""
        cond = unflatten(context, tuple(self.net.face_layers()), x)
        return self.net.full_body(x, e, cond)


class LightBody(nn.Module):
    """``MiniUNet.light_body`` of one stream with its conditions as plain tensors."""

    def __init__(self, net: MiniUNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, hidden: Tensor, x: Tensor, e: Tensor, *context: Tensor) -> tuple[Tensor]:
        """Hidden state, then as ``FullBody`` but for the last layer alone -> output."""
        cond = unflatten(context, LAST, x)
        return (self.net.light_body(hidden, None, x, e, cond)[0],)


class ForegroundBody(nn.Module):
    """The same with foreground attention."""

    def __init__(self, net: MiniUNet) -> None:
        super().__init__()
        self.net = net

    def forward(
        self,
        hidden: Tensor,
        background: Tensor,
        foreground: Tensor,
        x: Tensor,
        e: Tensor,
        *context: Tensor,
    ) -> tuple[Tensor]:
        """As ``LightBody``, with cached attention and face token indices -> output."""
        cond = unflatten(context, LAST, x)
        cond = replace(cond, reference=replace(cond.reference, foreground=foreground))
        return (self.net.light_body(hidden, background, x, e, cond)[0],)


def flatten(cond: MiniConditioning, layers: Sequence[str], row: int) -> tuple[Tensor, ...]:
    """Maps and the folded contexts of ``layers``, of one row of a batch.

    The last layer alone needs the first map alone.
    """
    span = slice(row * cond.frames, (row + 1) * cond.frames)
    levels = () if layers == LAST else cond.reference.maps[1:]
    contexts: list[Tensor] = []
    for name in layers:
        contexts.extend(field[row, None] for field in cond.reference.kv[name])
        contexts.extend(field[span] for field in cond.audio_kv[name])
    return (cond.drawn[span], *(level[row, None] for level in levels), *contexts)


def unflatten(context: Sequence[Tensor], layers: Sequence[str], x: Tensor) -> MiniConditioning:
    """The inverse, for the network's body, which looks at neither anchor nor vector."""
    start = len(context) - 4 * len(layers)
    reference: dict[str, Context] = {}
    audio: dict[str, Context] = {}
    for at, name in zip(range(start, len(context), 4), layers, strict=True):
        reference[name] = Folded(context[at], context[at + 1])
        audio[name] = Folded(context[at + 2], context[at + 3])
    identity = Reference(("",), Prior(x, x), tuple(context[:start]), x, reference)
    return MiniConditioning(identity, x, context[0], audio, int(x.shape[0]))


def _row_of(entry: Entry, row: int, frames: int) -> tuple[Tensor, Tensor]:
    span = slice(row * frames, (row + 1) * frames)
    return entry.x[span], entry.embedding[span]
