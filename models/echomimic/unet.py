"""EchoMimic's denoiser on the shared UNet.

Where it differs from its kin: audio tokens are what the spatial transformers cross-attend to, with
a gain of 3; a motion module follows every resnet's transformer at every level; the located face is
added to conv_in. Normal and accelerated (Acc) weights share this code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from models.lightning.focus import EVERYWHERE, Focus
from models.nn.attention import KeyValue
from models.sd15.attention import Reads, ReferenceKV, SpatialTransformer
from models.sd15.motion_module import MotionModule
from models.sd15.unet import LayerInfo, UNet, UNetSpec

AUDIO_GAIN = 3.0  # of the whole output of audio attention, its bias included: published behaviour


@dataclass(frozen=True)
class EchoMimicLayers:
    """Spatial transformers that hear, and a motion module everywhere."""

    spec: UNetSpec
    audio_channels: int
    motion_heads: int
    motion_length: int

    def attention(self, place: LayerInfo) -> nn.Module | None:
        """Where the level has attention."""
        if not place.attends:
            return None
        spec = self.spec
        return SpatialTransformer(
            place.channels, spec.heads, self.audio_channels, groups=spec.groups, gain=AUDIO_GAIN
        )

    def audio(self, place: LayerInfo) -> nn.Module | None:
        """None: sound enters through the spatial transformers."""
        return None

    def motion(self, place: LayerInfo) -> nn.Module | None:
        """At every place."""
        return MotionModule(place.channels, self.motion_heads, self.motion_length)


@dataclass
class EchoMimicCall:
    """What one call of the network needs beside latents and time, for B clips of F frames.

    Attributes:
        frames: F; num_branches: 2 with guidance (unconditional rows first), else 1.
        bank: reference keys and values of the B clips, by path of the transformer.
        audio: keys and values of all rows, by path.
        face: located faces added to conv_in, [num_branches * B, C, H, W].
        focus: where the last layer's attention runs.
        without_reference: paths of transformers that do not read the reference.
    """

    frames: int
    num_branches: int
    bank: Mapping[str, KeyValue]
    audio: Mapping[str, KeyValue]
    face: Tensor
    focus: Focus = field(default_factory=Focus)
    without_reference: frozenset[str] = frozenset()

    def reading(self, path: str) -> Reads | None:
        """What the rows of a transformer read: the conditional ones their clip's reference."""
        if path in self.without_reference:
            return None
        bank = self.bank[path]
        clips = bank.key.shape[0]
        rows = torch.arange(clips, device=bank.key.device).repeat_interleave(self.frames)
        return ReferenceKV(bank, rows, plain=(self.num_branches - 1) * clips * self.frames)


class EchoMimicUNet(UNet):
    """The denoiser, 3D by its motion modules alone."""

    def __init__(self, parts: EchoMimicLayers) -> None:
        super().__init__(parts.spec, parts)

    def first(self, x: Tensor, call: EchoMimicCall) -> Tensor:
        """conv_in, and the located face in every frame."""
        out: Tensor = self.conv_in(x) + call.face.repeat_interleave(call.frames, 0)
        return out

    def after_resnet(self, place: LayerInfo, x: Tensor, call: EchoMimicCall) -> Tensor:
        """Spatial transformer where there is one, then the motion module."""
        focus = call.focus if place.last else EVERYWHERE
        if place.attends:
            path = place.path("attentions")
            x = self._spatial(path)(x, call.reading(path), call.audio[path], focus=focus)
        motion = self.get_submodule(place.path("motion_modules"))
        out: Tensor = motion(x, call.frames, focus=focus)
        return out

    def read_bank(self, bank: Mapping[str, Tensor]) -> dict[str, KeyValue]:
        """Recorded features [B, L, C] by path -> keys and values, once per identity."""
        return {path: self._spatial(path).block.attn1.project(n) for path, n in bank.items()}

    def hear(self, audio: Tensor, *, num_branches: int) -> dict[str, KeyValue]:
        """Audio tokens [B, F, M, D] -> keys and values of all rows, by path; once per chunk.

        With two halves the unconditional rows come first and hear zeros.
        """
        tokens = audio.flatten(0, 1)
        if num_branches == 2:
            tokens = torch.cat([torch.zeros_like(tokens), tokens])
        heard = {}
        for place in self.places():
            if place.attends:
                path = place.path("attentions")
                attention = self._spatial(path).block.attn2
                assert attention is not None
                heard[path] = attention.project(tokens)
        return heard

    def _spatial(self, path: str) -> SpatialTransformer:
        module = self.get_submodule(path)
        assert isinstance(module, SpatialTransformer)
        return module
