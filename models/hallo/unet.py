"""Hallo's denoiser on the shared UNet.

Where it differs from its kin: after each spatial transformer an audio module with masks for
background, face and lips; motion modules see two motion frames in front of the chunk; the located
face region is added to conv_in. Motion modules at the level without attention have weights and are
never run (published behaviour).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from models.hallo.audio_module import Heard, MaskedAudioModule
from models.lightning.focus import EVERYWHERE, Focus
from models.nn.attention import KeyValue
from models.sd15.attention import Reads, ReferenceKV, SpatialTransformer
from models.sd15.motion_module import MotionModule
from models.sd15.reference_bank import reference_row_index
from models.sd15.unet import LayerInfo, UNet, UNetSpec


@dataclass(frozen=True)
class HalloLayers:
    """Transformer and audio module where there is attention; motion modules everywhere."""

    spec: UNetSpec
    face_channels: int
    audio_channels: int
    motion_heads: int
    motion_length: int

    def attention(self, place: LayerInfo) -> nn.Module | None:
        """With cross-attention to face tokens."""
        if not place.attends:
            return None
        spec = self.spec
        return SpatialTransformer(
            place.channels, spec.heads, self.face_channels, groups=spec.groups
        )

    def audio(self, place: LayerInfo) -> nn.Module | None:
        """Of the width that the block's input gives (published behaviour)."""
        if not place.attends:
            return None
        spec = self.spec
        return MaskedAudioModule(
            place.channels, place.inner, spec.heads, self.audio_channels, spec.groups
        )

    def motion(self, place: LayerInfo) -> nn.Module | None:
        """At every place, run or not."""
        return MotionModule(place.channels, self.motion_heads, self.motion_length)


@dataclass
class HalloCall:
    """What one call needs beside latents and time, for B clips of F frames.

    Rows are [num_branches, B, F]; banks and past maps hold all halves, [num_branches * B].

    Attributes:
        frames: F; num_branches: 2 with guidance (unconditional rows first), else 1.
        bank: keys and values of the portrait, by path of the transformer.
        past: maps of the motion frames [num_branches * B, n, C, H, W], by motion module path.
        face: keys and values of the face tokens of all rows, by path of the transformer.
        audio: keys and values of the sound of all rows, by path of the audio module.
        masks: of background, face and lips [num_branches * B, 3, L] at each level.
        region: the located face region [num_branches * B, C, H, W], added to conv_in.
        weights: of background, face and lips.
        plain: the first so many rows read no reference.
        focus: where the last layer's attention runs.
        without_reference: paths of transformers that do not read the reference.
    """

    frames: int
    num_branches: int
    bank: Mapping[str, KeyValue]
    past: Mapping[str, Tensor]
    face: Mapping[str, KeyValue]
    audio: Mapping[str, Heard]
    masks: tuple[Tensor, ...]
    region: Tensor
    weights: tuple[float, ...] = (1.0, 1.0, 1.0)
    plain: int = 0
    focus: Focus = field(default_factory=Focus)
    without_reference: frozenset[str] = frozenset()

    def reading(self, path: str) -> Reads | None:
        """What a transformer reads; None if it does not."""
        if path in self.without_reference:
            return None
        return ReferenceKV(self.bank[path], self.rows()[self.plain :], self.plain)

    def rows(self) -> Tensor:
        """Which entry of the bank each row reads, int64 [N]."""
        clips = len(self.region) // self.num_branches
        return reference_row_index(self.num_branches, clips, self.frames, self.region.device)


class HalloUNet(UNet):
    """The denoiser."""

    def __init__(self, parts: HalloLayers) -> None:
        super().__init__(parts.spec, parts)

    def first(self, x: Tensor, call: HalloCall) -> Tensor:
        """conv_in, and the located region in every frame."""
        out: Tensor = self.conv_in(x) + call.region.repeat_interleave(call.frames, 0)
        return out

    def after_resnet(self, place: LayerInfo, x: Tensor, call: HalloCall) -> Tensor:
        """Transformer, audio and motion where there is attention, else nothing."""
        if not place.attends:
            return x
        focus = call.focus if place.last else EVERYWHERE
        path = place.path("attentions")
        x = self.spatial(path)(x, call.reading(path), call.face[path], focus=focus)
        path = place.path("audio_modules")
        masks = call.masks[place.level].repeat_interleave(call.frames, 0)
        x = self.sound(path)(x, call.audio[path], masks, call.weights, focus=focus)
        path = place.path("motion_modules")
        out: Tensor = self.get_submodule(path)(x, call.frames, call.past[path], focus=focus)
        return out

    def read_bank(self, pictures: Mapping[str, Tensor]) -> dict[str, KeyValue]:
        """Portrait tokens [num_branches * B, L, C] -> keys and values, once a chunk."""
        return {path: self.spatial(path).block.attn1.project(n) for path, n in pictures.items()}

    def see_face(self, tokens: Tensor, frames: int) -> dict[str, KeyValue]:
        """Face tokens [num_branches * B, M, D] -> keys and values of all rows, once an identity."""
        found = {}
        for place in self.places():
            if place.attends:
                attention = self.spatial(place.path("attentions")).block.attn2
                assert attention is not None
                kv = attention.project(tokens)
                rows = KeyValue(*(part.repeat_interleave(frames, 0) for part in kv))
                found[place.path("attentions")] = rows
        return found

    def hear(self, audio: Tensor) -> dict[str, Heard]:
        """Audio tokens of all rows [N, M, D] -> keys and values by path, once a chunk."""
        paths = [place.path("audio_modules") for place in self.places() if place.attends]
        return {path: self.sound(path).block.hear(audio) for path in paths}

    def spatial(self, path: str) -> SpatialTransformer:
        """The spatial transformer at ``path``."""
        module = self.get_submodule(path)
        assert isinstance(module, SpatialTransformer)
        return module

    def sound(self, path: str) -> MaskedAudioModule:
        """The audio module at ``path``."""
        module = self.get_submodule(path)
        assert isinstance(module, MaskedAudioModule)
        return module
