"""The Stable Diffusion 1.5 UNet over folded frames that all published backbones are built on.

It owns the walk: levels, skips, the order of calls, and the two entries of LightningCP. What
follows each resnet (reference, audio, time) is a family's own: ``LayerFactory`` says what stands at
each place and ``after_resnet`` runs it.

    conv_in -> down_blocks -> mid_block -> up_blocks -> conv_norm_out, SiLU, conv_out
               (a layer of an up block: concatenate a skip, resnet, after_resnet)

Rows are folded frames: [N, C, H, W], N = (guidance halves x clips x frames), halves outermost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.sd15.blocks import Downsample, FrameNorm, Resnet, Upsample
from models.sd15.time_embedding import TimeEmbedding


@dataclass(frozen=True)
class LayerInfo:
    """One layer of the network.

    Attributes:
        block: ``down_blocks.0`` .. ``mid_block`` .. ``up_blocks.3``; index: of the layer in it.
        level: 0 at full latent resolution, 3 at an eighth of it.
        channels: of the resnet's output.
        inner: width that published audio modules derive from the block's *input*: the block's
            input channels in a down block's first layer and its own in the others; in an up block
            the next block's channels.
        attends: whether the level has attention.
        last: whether this is U32, the last layer of the last up block.
    """

    block: str
    index: int
    level: int
    channels: int
    inner: int
    attends: bool
    last: bool = False

    def path(self, kind: str) -> str:
        """Name of a module of this layer, for example ``up_blocks.3.attentions.2``."""
        return f"{self.block}.{kind}.{self.index}"


@dataclass(frozen=True)
class UNetSpec:
    """Sizes of the UNet; heads are counted (published as ``attention_head_dim``)."""

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    attends: tuple[bool, ...] = (True, True, True, False)
    layers: int = 2
    heads: int = 8
    groups: int = 32
    eps: float = 1e-5  # of the norms in resnets and at the end
    latent: int = 4

    @property
    def embedding(self) -> int:
        """Width of the time embedding."""
        return 4 * self.channels[0]


def unet_spec(config: Mapping[str, Any]) -> UNetSpec:
    """Sizes of a UNet from its published configuration; what it leaves out is as in SD 1.5."""
    stock = UNetSpec()
    types = config.get("down_block_types")
    return UNetSpec(
        channels=tuple(config.get("block_out_channels", stock.channels)),
        attends=tuple("CrossAttn" in name for name in types) if types else stock.attends,
        layers=config.get("layers_per_block", stock.layers),
        heads=config.get("attention_head_dim", stock.heads),
        groups=config.get("norm_num_groups", stock.groups),
        eps=config.get("norm_eps", stock.eps),
        latent=config.get("in_channels", stock.latent),
    )


class LayerFactory(Protocol):
    """What a family puts after each resnet; None where there is nothing."""

    def attention(self, place: LayerInfo) -> nn.Module | None:
        """The spatial transformer."""
        ...

    def audio(self, place: LayerInfo) -> nn.Module | None:
        """The audio module."""
        ...

    def motion(self, place: LayerInfo) -> nn.Module | None:
        """The motion module."""
        ...


class Block(nn.Module):
    """Module lists of one block, by their published names; it has no forward of its own."""

    def __init__(self, places: list[LayerInfo], resnets: list[Resnet], parts: LayerFactory) -> None:
        super().__init__()
        self.places = places
        self.resnets = nn.ModuleList(resnets)
        kinds = {
            "attentions": parts.attention,
            "audio_modules": parts.audio,
            "motion_modules": parts.motion,
        }
        for name, make in kinds.items():
            made = [make(place) for place in places]
            kept = [module for module in made if module is not None]
            if kept:
                self.add_module(name, nn.ModuleList(kept))
        self.downsamplers: nn.ModuleList | None = None
        self.upsamplers: nn.ModuleList | None = None


class UNet(nn.Module):
    """The walk; subclasses give ``after_resnet`` and, where they add to conv_in, ``first``.

    Args:
        spec: sizes.
        parts: what follows each resnet.
        head: whether there are ``conv_norm_out`` and ``conv_out``.

    Attributes:
        reuses_outputs: calls write into the memory of the calls before (CUDA graphs do).
    """

    reuses_outputs = False

    def __init__(self, spec: UNetSpec, parts: LayerFactory, *, head: bool = True) -> None:
        super().__init__()
        self.sizes = spec
        channels = spec.channels
        self.conv_in = nn.Conv2d(spec.latent, channels[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(channels[0], spec.embedding)
        self.down_blocks = nn.ModuleList(_down(spec, parts))
        self.mid_block = _middle(spec, parts)
        self.up_blocks = nn.ModuleList(_up(spec, parts))
        self.conv_norm_out = FrameNorm(spec.groups, channels[0], eps=spec.eps) if head else None
        self.conv_out = nn.Conv2d(channels[0], spec.latent, 3, padding=1) if head else None

    # ---- what families give ----------------------------------------------------------------------

    def first(self, x: Tensor, call: Any) -> Tensor:
        """conv_in and what is added to it before it becomes the first skip."""
        h: Tensor = self.conv_in(x)
        return h

    def after_resnet(self, place: LayerInfo, x: Tensor, call: Any) -> Tensor:
        """Attention, audio and motion of one layer, [N, C, H, W] -> the same shape."""
        raise NotImplementedError("a family says what follows a resnet")

    # ---- the two entries -------------------------------------------------------------------------

    def everything(self, x: Tensor, embedding: Tensor, call: Any) -> tuple[Tensor, Tensor]:
        """The whole network.

        Args:
            x: latents [N, C, H, W]; embedding: of time [N, E], from ``embed``.
            call: what the family's hooks need.

        Returns:
            The prediction [N, C, H, W] (the last layer's output if there is no head), and the
            hidden state that entered the last layer, f_U31.
        """
        h = self.first(x, call)
        skips = [h]
        for block in self.down_blocks:
            assert isinstance(block, Block)
            for resnet, place in zip(block.resnets, block.places, strict=True):
                h = self.after_resnet(place, resnet(h, embedding), call)
                skips.append(h)
            if block.downsamplers is not None:
                h = block.downsamplers[0](h)
                skips.append(h)
        before, after = self.mid_block.resnets
        h = after(
            self.after_resnet(self.mid_block.places[0], before(h, embedding), call), embedding
        )
        hidden = h
        for block in self.up_blocks:
            assert isinstance(block, Block)
            for resnet, place in zip(block.resnets, block.places, strict=True):
                hidden = h
                h = resnet(torch.cat([h, skips.pop()], dim=1), embedding)
                h = self.after_resnet(place, h, call)
            if block.upsamplers is not None:
                h = block.upsamplers[0](h, tuple(skips[-1].shape[2:]))
        return self.finish(h), hidden

    def last(self, hidden: Tensor, x: Tensor, embedding: Tensor, call: Any) -> Tensor:
        """A light step: conv_in, the last layer and the head, from a cached hidden state."""
        block = self.up_blocks[-1]
        assert isinstance(block, Block)
        h = torch.cat([hidden, self.first(x, call)], dim=1)
        h = self.after_resnet(block.places[-1], block.resnets[-1](h, embedding), call)
        return self.finish(h)

    def left_out(self) -> list[nn.Module]:
        """What ``last`` does without."""
        blocks: list[nn.Module] = [*self.down_blocks, self.mid_block, *self.up_blocks]
        earlier = [child for block in blocks[:-1] for child in block.children()]
        layers = [child for child in blocks[-1].children() if isinstance(child, nn.ModuleList)]
        return earlier + [module for kind in layers for module in list(kind)[:-1]]

    def embed(self, t: Tensor, num_branches: int, frames: int) -> Tensor:
        """Times [B] of B clips -> activated embeddings [num_branches * B * frames, E]."""
        embedded = F.silu(self.time_embedding(t))
        return embedded.repeat_interleave(frames, 0).repeat(num_branches, 1)

    def finish(self, h: Tensor) -> Tensor:
        """Group norm, SiLU and conv_out, where the network has them."""
        if self.conv_out is None or self.conv_norm_out is None:
            return h
        out: Tensor = self.conv_out(F.silu(self.conv_norm_out(h)))
        return out

    def places(self) -> Iterator[LayerInfo]:
        """All layers in the order they run; the mid block counts as one."""
        for block in (*self.down_blocks, self.mid_block, *self.up_blocks):
            assert isinstance(block, Block)
            yield from block.places


def _down(spec: UNetSpec, parts: LayerFactory) -> Iterator[Block]:
    before = spec.channels[0]
    for level, (channels, attends) in enumerate(zip(spec.channels, spec.attends, strict=True)):
        places, resnets = [], []
        for k in range(spec.layers):
            inputs = before if k == 0 else channels
            name = f"down_blocks.{level}"
            places.append(LayerInfo(name, k, level, channels, inputs, attends))
            resnets.append(Resnet(inputs, channels, spec.embedding, spec.groups, spec.eps))
        block = Block(places, resnets, parts)
        if level < len(spec.channels) - 1:
            block.downsamplers = nn.ModuleList([Downsample(channels)])
        before = channels
        yield block


def _middle(spec: UNetSpec, parts: LayerFactory) -> Block:
    channels = spec.channels[-1]
    level = len(spec.channels) - 1
    resnets = [Resnet(channels, channels, spec.embedding, spec.groups, spec.eps) for _ in range(2)]
    return Block([LayerInfo("mid_block", 0, level, channels, channels, True)], resnets, parts)


def _up(spec: UNetSpec, parts: LayerFactory) -> Iterator[Block]:
    skips = [spec.channels[0]]
    for level, channels in enumerate(spec.channels):
        skips += [channels] * (spec.layers + (level < len(spec.channels) - 1))
    levels = list(range(len(spec.channels)))[::-1]
    hidden = spec.channels[-1]
    for k, level in enumerate(levels):
        channels, after = spec.channels[level], spec.channels[max(level - 1, 0)]
        places, resnets = [], []
        for j in range(spec.layers + 1):
            last = level == 0 and j == spec.layers
            name = f"up_blocks.{k}"
            places.append(LayerInfo(name, j, level, channels, after, spec.attends[level], last))
            resnets.append(
                Resnet(hidden + skips.pop(), channels, spec.embedding, spec.groups, spec.eps)
            )
            hidden = channels
        block = Block(places, resnets, parts)
        if level > 0:
            block.upsamplers = nn.ModuleList([Upsample(channels)])
        yield block
