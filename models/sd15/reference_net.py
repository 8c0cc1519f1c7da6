"""The reference network: a 2D UNet run once per picture, read for what its attentions see.

In every spatial transformer the output of ``norm1``, the input of self-attention, is recorded under
the module's path; the denoiser's transformer of the same path reads it. The network's own output
is not used, so that it has no head.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from models.sd15.attention import SpatialTransformer
from models.sd15.unet import LayerInfo, UNet, UNetSpec


@dataclass
class ReferenceFeatures:
    """What one run of the network records.

    Attributes:
        tokens: what cross-attention attends to, [N, M, D]; None without one.
        bank: ``norm1`` outputs [N, H W, C] by path, in the order they were seen.
    """

    tokens: Tensor | None = None
    bank: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class ReferenceLayers:
    """A spatial transformer wherever the level has attention, and nothing else."""

    spec: UNetSpec
    context: int | None

    def attention(self, place: LayerInfo) -> nn.Module | None:
        """With cross-attention to ``context`` channels, or without."""
        if not place.attends:
            return None
        spec = self.spec
        return SpatialTransformer(place.channels, spec.heads, self.context, groups=spec.groups)

    def audio(self, place: LayerInfo) -> nn.Module | None:
        """None: it never hears."""
        return None

    def motion(self, place: LayerInfo) -> nn.Module | None:
        """None: it sees one frame."""
        return None


class ReferenceNet(UNet):
    """Stock SD 1.5 UNet without a head; ``context`` None leaves out attn2 and norm2."""

    parts = ReferenceLayers

    def __init__(self, spec: UNetSpec, context: int | None) -> None:
        super().__init__(spec, self.parts(spec, context), head=False)

    def after_resnet(self, place: LayerInfo, x: Tensor, call: ReferenceFeatures) -> Tensor:
        """The transformer, its norm1 recorded."""
        if not place.attends:
            return x
        transformer = self.get_submodule(place.path("attentions"))
        assert isinstance(transformer, SpatialTransformer)
        path = place.path("attentions")
        context = None
        if transformer.block.attn2 is not None and call.tokens is not None:
            context = transformer.block.attn2.project(call.tokens)
        out: Tensor = transformer(x, None, context, tap=lambda n: call.bank.__setitem__(path, n))
        return out

    def read(
        self, latents: Tensor, tokens: Tensor | None = None
    ) -> tuple[Tensor, ReferenceFeatures]:
        """Run at time 0.

        Args:
            latents: clean latents [N, C, H, W]; tokens: for cross-attention [N, M, D].

        Returns:
            The last up block's output [N, C', H, W], and the recording.
        """
        recording = ReferenceFeatures(tokens)
        zero = torch.zeros(1, device=latents.device)
        embedding = self.embed(zero, 1, len(latents))
        out, _ = self.everything(latents, embedding, recording)
        return out, recording
