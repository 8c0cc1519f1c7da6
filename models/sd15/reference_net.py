"""The reference network: a 2D UNet run once per picture, read for what its attentions see.

In every spatial transformer the output of ``norm1``, the input of self-attention, is recorded under
the module's path; the denoiser's transformer of the same path reads it. The network's own output
is not used, so that it has no head.

Hallo and MEMO run it on [portrait, n motion frames] for each guidance branch. Where the denoiser
has attention, self-attention reads the portrait's tokens and the motion module behind it takes the
motion frames' tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from models.sd15.attention import SpatialTransformer
from models.sd15.unet import LayerInfo, UNet, UNetSpec


@dataclass
class ReferenceFeatures:
    """What one run of the network records.

    Attributes:
        context: what cross-attention attends to, [N, M, D]; None without cross-attention.
        features: ``norm1`` outputs [N, H W, C] by path, in the order they ran.
    """

    context: Tensor | None = None
    features: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class ReferenceLayers:
    """A spatial transformer wherever the level has attention, and nothing else."""

    spec: UNetSpec
    context: int | None

    def attention(self, layer: LayerInfo) -> nn.Module | None:
        """With cross-attention to ``context`` channels, or without."""
        if not layer.has_attention:
            return None
        spec = self.spec
        return SpatialTransformer(layer.channels, spec.heads, self.context, groups=spec.groups)

    def audio(self, layer: LayerInfo) -> nn.Module | None:
        """None: the reference has no audio."""
        return None

    def motion(self, layer: LayerInfo) -> nn.Module | None:
        """None: it sees one frame."""
        return None


class ReferenceNet(UNet[ReferenceFeatures]):
    """Stock SD 1.5 UNet without a head; ``context`` None leaves out attn2 and norm2."""

    factory = ReferenceLayers

    def __init__(self, spec: UNetSpec, context: int | None) -> None:
        super().__init__(spec, self.factory(spec, context), head=False)

    def apply_attention(self, layer: LayerInfo, x: Tensor, context: ReferenceFeatures) -> Tensor:
        """The transformer, its norm1 recorded."""
        if not layer.has_attention:
            return x
        path = layer.path("attentions")
        transformer = self.transformer(path)
        kv = None
        if transformer.block.attn2 is not None and context.context is not None:
            kv = transformer.block.attn2.project(context.context)
        record = partial(context.features.__setitem__, path)
        out: Tensor = transformer(x, None, kv, hook=record)
        return out

    def read(
        self, latents: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, ReferenceFeatures]:
        """Run at time 0.

        Args:
            latents: clean latents [N, C, H, W]; context: for cross-attention [N, M, D].

        Returns:
            The last up block's output [N, C', H, W], and what was recorded.
        """
        recorded = ReferenceFeatures(context)
        zero = torch.zeros(1, device=latents.device)
        embedding = self.embed(zero, 1, len(latents))
        out, _ = self.full(latents, embedding, recorded)
        return out, recorded


def read_reference_features(
    reference: ReferenceNet, latents: Tensor, faces: Tensor
) -> dict[str, Tensor]:
    """Run the reference network on latents [1 + n, C, H, W], once for each guidance branch.

    Face tokens [num_branches, M, D] are tiled over the rows (published behaviour: row i takes i mod
    num_branches).

    Returns:
        Features [num_branches * (1 + n), ...] by path.
    """
    num_branches = len(faces)
    rows = latents.repeat(num_branches, 1, 1, 1)
    order = torch.arange(len(rows), device=faces.device) % num_branches
    _, recorded = reference.read(rows, faces[order])
    return recorded.features


def split_motion_frames(
    network: UNet[Any],
    features: Mapping[str, Tensor],
    num_branches: int,
    size: tuple[int, int],
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Features of [num_branches * (1 + n)] pictures of one clip -> portrait and motion frames.

    Args:
        network: the denoiser, for its layers; those without features are left out.
        features: tokens [rows, L, C] or maps [rows, C, H, W] by path.
        size: height and width of the latents.

    Returns:
        Portrait tokens [num_branches, L, C] by path of the transformer, and maps of the n motion
        frames [num_branches, n, C, H, W] by path of the motion module.
    """
    portrait, motion_frames = {}, {}
    for layer in network.layers():
        path = layer.path("attentions" if layer.has_attention else "resnets")
        if path not in features:
            continue
        groups = features[path].view(num_branches, -1, *features[path].shape[1:])
        maps = groups[:, 1:]
        if layer.has_attention:
            portrait[path] = groups[:, 0]
            sides = (-(-side // 2**layer.level) for side in size)
            maps = maps.transpose(2, 3).reshape(*maps.shape[:2], -1, *sides)
        motion_frames[layer.path("motion_modules")] = maps
    return portrait, motion_frames


def reference_row_index(num_branches: int, clips: int, frames: int, device: torch.device) -> Tensor:
    """Which reference [num_branches * clips] each row reads, int64 [N].

    Published behaviour: row r of a clip's (branches x frames) rows reads the portrait of branch r
    mod num_branches: portraits are tiled over frames, so that frames of the conditional branch take
    the unconditional and the conditional portrait in turn.
    """
    order = torch.arange(num_branches * frames, device=device) % num_branches
    picture = order.view(num_branches, 1, frames) * clips
    clip = torch.arange(clips, device=device).view(1, clips, 1)
    return (picture + clip).flatten()
