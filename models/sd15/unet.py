"""The Stable Diffusion 1.5 UNet over folded frames that Hallo, EchoMimic and MEMO are built on.

It owns the forward pass: levels, skips, the order of calls, and the two entries of LightningCP.
What follows each resnet (reference, audio, time) is the model's: ``LayerFactory`` builds the
modules of each layer and ``apply_attention`` runs them.

    conv_in -> down_blocks -> mid_block -> up_blocks -> conv_norm_out, SiLU, conv_out
               (a layer of an up block: concatenate a skip, resnet, apply_attention)

Maps are folded frames [N, C, H, W], N = num_branches * B * F, unconditional rows first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.nn.attention import KeyValue
from models.sd15.attention import SpatialTransformer
from models.sd15.blocks import Downsample2D, FrameNorm, Resnet, TimeEmbedding, Upsample2D

Context = TypeVar("Context")
"""What a network's layers need of a call beside latents and time."""


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
        has_attention: whether the level has it.
        is_last: whether this is U32, the last layer of the last up block.
    """

    block: str
    index: int
    level: int
    channels: int
    inner: int
    has_attention: bool
    is_last: bool = False

    def path(self, kind: str) -> str:
        """Name of a module of this layer, for example ``up_blocks.3.attentions.2``."""
        return f"{self.block}.{kind}.{self.index}"


@dataclass(frozen=True)
class UNetSpec:
    """Sizes of the UNet; heads are counted (published as ``attention_head_dim``)."""

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    has_attention: tuple[bool, ...] = (True, True, True, False)
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
        has_attention=(
            tuple("CrossAttn" in name for name in types) if types else stock.has_attention
        ),
        layers=config.get("layers_per_block", stock.layers),
        heads=config.get("attention_head_dim", stock.heads),
        groups=config.get("norm_num_groups", stock.groups),
        eps=config.get("norm_eps", stock.eps),
        latent=config.get("in_channels", stock.latent),
    )


class LayerFactory(Protocol):
    """Builds what follows each resnet; None where there is nothing."""

    def attention(self, layer: LayerInfo) -> nn.Module | None:
        """The spatial transformer."""
        ...

    def audio(self, layer: LayerInfo) -> nn.Module | None:
        """The audio module."""
        ...

    def motion(self, layer: LayerInfo) -> nn.Module | None:
        """The motion module."""
        ...


class Block(nn.Module):
    """Module lists of one block, by their published names; it has no forward of its own."""

    def __init__(
        self, layers: list[LayerInfo], resnets: list[Resnet], factory: LayerFactory
    ) -> None:
        super().__init__()
        self.layers = layers
        self.resnets = nn.ModuleList(resnets)
        kinds = {
            "attentions": factory.attention,
            "audio_modules": factory.audio,
            "motion_modules": factory.motion,
        }
        for name, build in kinds.items():
            modules = [module for layer in layers if (module := build(layer)) is not None]
            if modules:
                self.add_module(name, nn.ModuleList(modules))
        self.downsamplers: nn.ModuleList | None = None
        self.upsamplers: nn.ModuleList | None = None


class UNet(nn.Module, Generic[Context]):
    """The forward pass; models define ``apply_attention`` and may add to ``input_features``.

    Args:
        spec: sizes.
        factory: builds what follows each resnet.
        head: whether there are ``conv_norm_out`` and ``conv_out``.

    Attributes:
        reuses_outputs: calls write into the memory of earlier calls' outputs (CUDA graphs do).
    """

    reuses_outputs = False

    def __init__(self, spec: UNetSpec, factory: LayerFactory, *, head: bool = True) -> None:
        super().__init__()
        self.sizes = spec
        channels = spec.channels
        self.conv_in = nn.Conv2d(spec.latent, channels[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(channels[0], spec.embedding)
        self.down_blocks = nn.ModuleList(_down(spec, factory))
        self.mid_block = _middle(spec, factory)
        self.up_blocks = nn.ModuleList(_up(spec, factory))
        self.conv_norm_out = FrameNorm(spec.groups, channels[0], eps=spec.eps) if head else None
        self.conv_out = nn.Conv2d(channels[0], spec.latent, 3, padding=1) if head else None

    # ---- what models define ----------------------------------------------------------------------

    def input_features(self, x: Tensor, context: Context) -> Tensor:
        """conv_in and what is added to it before it becomes the first skip."""
        h: Tensor = self.conv_in(x)
        return h

    def apply_attention(self, layer: LayerInfo, x: Tensor, context: Context) -> Tensor:
        """Attention, audio and motion modules of one layer, [N, C, H, W] -> the same shape."""
        raise NotImplementedError("a model defines what follows a resnet")

    # ---- keys and values that calls share --------------------------------------------------------

    def project_reference(self, features: Mapping[str, Tensor]) -> dict[str, KeyValue]:
        """Features of the portrait [num_branches * B, L, C], by path -> its keys and values."""
        paths = self.attention_paths()
        return {path: self.transformer(path).block.attn1.project(features[path]) for path in paths}

    def project_face(self, tokens: Tensor, frames: int) -> dict[str, KeyValue]:
        """Face embedding tokens [num_branches * B, M, D] -> keys and values of all rows, for models
        whose cross-attention reads the face; once an identity."""
        found = {}
        for path in self.attention_paths():
            kv = self.transformer(path).cross_attention.project(tokens)
            found[path] = KeyValue(*(part.repeat_interleave(frames, 0) for part in kv))
        return found

    # ---- the two entries -------------------------------------------------------------------------

    def full(self, x: Tensor, embedding: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """The whole network.

        Args:
            x: latents [N, C, H, W]; embedding: of time [N, E], from ``embed``.
            context: what the layers need besides.

        Returns:
            The prediction [N, C, H, W] (the last layer's output if there is no head), and the
            hidden state that entered the last layer, f_U31.
        """
        h = self.input_features(x, context)
        skips = [h]
        for block in self._blocks(self.down_blocks):
            for resnet, layer in zip(block.resnets, block.layers, strict=True):
                h = self.apply_attention(layer, resnet(h, embedding), context)
                skips.append(h)
            if block.downsamplers is not None:
                h = block.downsamplers[0](h)
                skips.append(h)
        before, after = self.mid_block.resnets
        (layer,) = self.mid_block.layers
        h = after(self.apply_attention(layer, before(h, embedding), context), embedding)
        hidden = h
        for block in self._blocks(self.up_blocks):
            for resnet, layer in zip(block.resnets, block.layers, strict=True):
                hidden = h
                h = resnet(torch.cat([h, skips.pop()], dim=1), embedding)
                h = self.apply_attention(layer, h, context)
            if block.upsamplers is not None:
                h = block.upsamplers[0](h, tuple(skips[-1].shape[2:]))
        return self.head(h), hidden

    def light(self, hidden: Tensor, x: Tensor, embedding: Tensor, context: Context) -> Tensor:
        """A light step: conv_in, the last layer and the head, from a cached hidden state."""
        *_, block = self._blocks(self.up_blocks)
        h = torch.cat([hidden, self.input_features(x, context)], dim=1)
        h = self.apply_attention(block.layers[-1], block.resnets[-1](h, embedding), context)
        return self.head(h)

    def unused_in_light_step(self) -> list[nn.Module]:
        """Modules that a light step does without."""
        blocks: list[nn.Module] = [*self.down_blocks, self.mid_block, *self.up_blocks]
        earlier = [child for block in blocks[:-1] for child in block.children()]
        layers = [child for child in blocks[-1].children() if isinstance(child, nn.ModuleList)]
        return earlier + [module for kind in layers for module in list(kind)[:-1]]

    def embed(self, t: Tensor, num_branches: int, frames: int) -> Tensor:
        """Times [B] of B clips -> activated embeddings [num_branches * B * frames, E]."""
        embedded = F.silu(self.time_embedding(t))
        return embedded.repeat_interleave(frames, 0).repeat(num_branches, 1)

    def head(self, h: Tensor) -> Tensor:
        """Group norm, SiLU and conv_out, where the network has them."""
        if self.conv_out is None or self.conv_norm_out is None:
            return h
        out: Tensor = self.conv_out(F.silu(self.conv_norm_out(h)))
        return out

    def layers(self) -> Iterator[LayerInfo]:
        """All layers in the order they run; the mid block counts as one."""
        blocks = (*self._blocks(self.down_blocks), self.mid_block, *self._blocks(self.up_blocks))
        for block in blocks:
            yield from block.layers

    def attention_paths(self, kind: str = "attentions") -> list[str]:
        """Paths of one kind of module in the layers that have attention."""
        return [layer.path(kind) for layer in self.layers() if layer.has_attention]

    def transformer(self, path: str) -> SpatialTransformer:
        """The spatial transformer at ``path``."""
        module = self.get_submodule(path)
        assert isinstance(module, SpatialTransformer)
        return module

    def last_layer(self) -> LayerInfo:
        """U32, which light steps run."""
        *_, last = self.layers()
        return last

    @staticmethod
    def _blocks(blocks: nn.ModuleList) -> list[Block]:
        return [block for block in blocks if isinstance(block, Block)]


def _down(spec: UNetSpec, factory: LayerFactory) -> Iterator[Block]:
    before = spec.channels[0]
    levels = zip(spec.channels, spec.has_attention, strict=True)
    for level, (channels, has_attention) in enumerate(levels):
        layers, resnets = [], []
        for k in range(spec.layers):
            inputs = before if k == 0 else channels
            name = f"down_blocks.{level}"
            layers.append(LayerInfo(name, k, level, channels, inputs, has_attention))
            resnets.append(Resnet(inputs, channels, spec.embedding, spec.groups, spec.eps))
        block = Block(layers, resnets, factory)
        if level < len(spec.channels) - 1:
            block.downsamplers = nn.ModuleList([Downsample2D(channels)])
        before = channels
        yield block


def _middle(spec: UNetSpec, factory: LayerFactory) -> Block:
    channels = spec.channels[-1]
    level = len(spec.channels) - 1
    resnets = [Resnet(channels, channels, spec.embedding, spec.groups, spec.eps) for _ in range(2)]
    layer = LayerInfo("mid_block", 0, level, channels, channels, has_attention=True)
    return Block([layer], resnets, factory)


def _up(spec: UNetSpec, factory: LayerFactory) -> Iterator[Block]:
    skips = [spec.channels[0]]
    for level, channels in enumerate(spec.channels):
        skips += [channels] * (spec.layers + (level < len(spec.channels) - 1))
    levels = list(range(len(spec.channels)))[::-1]
    hidden = spec.channels[-1]
    for k, level in enumerate(levels):
        channels, after = spec.channels[level], spec.channels[max(level - 1, 0)]
        has_attention = spec.has_attention[level]
        layers, resnets = [], []
        for j in range(spec.layers + 1):
            is_last = level == 0 and j == spec.layers
            name = f"up_blocks.{k}"
            layers.append(LayerInfo(name, j, level, channels, after, has_attention, is_last))
            resnets.append(
                Resnet(hidden + skips.pop(), channels, spec.embedding, spec.groups, spec.eps)
            )
            hidden = channels
        block = Block(layers, resnets, factory)
        if level > 0:
            block.upsamplers = nn.ModuleList([Upsample2D(channels)])
        yield block
