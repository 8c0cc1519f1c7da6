"""MEMO's networks: the denoiser on the shared UNet, and its reference network.

Where it differs from its kin: an audio stream runs through joint audio modules from the first layer
to the last; motion modules remember earlier frames and stand at every place, with features of the
reference network where there is no attention; time is continuous (flow matching).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from models.lightning.focus import EVERYWHERE, Focus
from models.memo.audio_module import JointAudioModule
from models.memo.memory_attention import Memories, MemoryModule
from models.nn.attention import KeyValue
from models.sd15.attention import Reads, ReferenceKV, SpatialTransformer
from models.sd15.reference_bank import reference_row_index
from models.sd15.reference_net import ReferenceFeatures, ReferenceLayers, ReferenceNet
from models.sd15.unet import LayerInfo, UNet, UNetSpec

STREAM = "audio"  # the audio stream's name in a cache


@dataclass(frozen=True)
class MemoLayers:
    """Spatial transformer and audio module where there is attention, motion modules everywhere."""

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
        return JointAudioModule(
            place.channels,
            place.inner,
            self.spec.heads,
            self.audio_channels,
            groups=self.spec.groups,
            last=place.last,
        )

    def motion(self, place: LayerInfo) -> nn.Module | None:
        """At every place."""
        return MemoryModule(place.channels, self.motion_heads, self.motion_length)


@dataclass
class MemoCall:
    """What one call needs beside latents and time, for B clips of F frames.

    Rows are [num_branches, B, F]; the bank holds the reference of all branches.

    Attributes:
        frames: F; num_branches: 2 with guidance (unconditional rows first), else 1.
        bank: keys and values of the reference pictures, by path of the transformer.
        face: keys and values of the face tokens of all rows, by path.
        memory: of the motion modules, by path.
        labels: of all rows, int64 [N].
        stream: audio tokens [N, M, D]; changes from layer to layer.
        plain: the first so many rows read no reference.
        carried: the stream as it entered the last layer, after a call of ``everything``.
        focus: where the last layer's attention runs.
        without_reference: paths of transformers that do not read the reference.
    """

    frames: int
    num_branches: int
    bank: Mapping[str, KeyValue]
    face: Mapping[str, KeyValue]
    memory: Memories
    labels: Tensor
    stream: Tensor
    plain: int
    carried: Tensor | None = None
    focus: Focus = field(default_factory=Focus)
    without_reference: frozenset[str] = frozenset()

    def reading(self, path: str) -> Reads | None:
        """What a transformer reads; None if it does not."""
        if path in self.without_reference:
            return None
        return ReferenceKV(self.bank[path], self.rows()[self.plain :], self.plain)

    def rows(self) -> Tensor:
        """Which entry of the bank each row reads, int64 [N]."""
        clips = len(self.labels) // self.num_branches // self.frames
        return reference_row_index(self.num_branches, clips, self.frames, self.labels.device)


class MemoUNet(UNet):
    """The denoiser."""

    def __init__(self, parts: MemoLayers) -> None:
        super().__init__(parts.spec, parts)

    def after_resnet(self, place: LayerInfo, x: Tensor, call: MemoCall) -> Tensor:
        """Transformer and audio module where there is attention, then the motion module."""
        focus = call.focus if place.last else EVERYWHERE
        if place.attends:
            if place.last:
                call.carried = call.stream
            path = place.path("attentions")
            x = self.spatial(path)(x, call.reading(path), call.face[path], focus=focus)
            audio = self.get_submodule(place.path("audio_modules"))
            x, call.stream = audio(x, call.stream, call.labels, focus=focus)
        path = place.path("motion_modules")
        out: Tensor = self.motion(path)(x, call.frames, call.memory[path], focus=focus)
        return out

    def read_bank(self, pictures: Mapping[str, Tensor]) -> dict[str, KeyValue]:
        """Recorded tokens of the reference pictures [num_branches * B, L, C] -> keys and values."""
        found = {}
        for place in self.places():
            if place.attends:
                path = place.path("attentions")
                found[path] = self.spatial(path).block.attn1.project(pictures[path])
        return found

    def see_face(self, tokens: Tensor, frames: int) -> dict[str, KeyValue]:
        """Face tokens [num_branches * B, M, D] -> keys and values, once for an identity."""
        found = {}
        for place in self.places():
            if place.attends:
                path = place.path("attentions")
                attention = self.spatial(path).block.attn2
                assert attention is not None
                kv = attention.project(tokens)
                found[path] = KeyValue(*(part.repeat_interleave(frames, 0) for part in kv))
        return found

    def remember(self, past: Mapping[str, Tensor], before: Memories | None = None) -> Memories:
        """Write the memory, once for a clip.

        Args:
            past: maps of past frames [num_branches * B, n, C, H, W] by path of the motion module.
            before: the memory that earlier clips left; None starts anew.
        """
        written = {}
        for place in self.places():
            path = place.path("motion_modules")
            new = self.motion(path).write(past[path])
            if before is not None:
                frames = past[path].shape[1]
                first, second = before[path]
                new = (first.after(new[0], frames), second.after(new[1], frames))
            written[path] = new
        return written

    def spatial(self, path: str) -> SpatialTransformer:
        """The spatial transformer at ``path``."""
        module = self.get_submodule(path)
        assert isinstance(module, SpatialTransformer)
        return module

    def motion(self, path: str) -> MemoryModule:
        """The motion module at ``path``."""
        module = self.get_submodule(path)
        assert isinstance(module, MemoryModule)
        return module


class _Truncated(nn.Module):
    """The reference network's last transformer: nothing after ``norm1`` exists."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        block = nn.Module()
        block.norm1 = nn.LayerNorm(channels)
        self.transformer_blocks = nn.ModuleList([block])

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> ``norm1``'s output [N, H W, C]."""
        tokens = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        out: Tensor = self.transformer_blocks[0].get_submodule("norm1")(tokens)
        return out


@dataclass(frozen=True)
class _ReferenceParts(ReferenceLayers):
    def attention(self, place: LayerInfo) -> nn.Module | None:
        if place.last:
            return _Truncated(place.channels, self.spec.groups)
        return super().attention(place)


class MemoReferenceNet(ReferenceNet):
    """Records ``norm1`` outputs, and whole maps where a level has no attention."""

    parts = _ReferenceParts

    def after_resnet(self, place: LayerInfo, x: Tensor, call: ReferenceFeatures) -> Tensor:
        """As of ``ReferenceNet``; the last layer only records."""
        if not place.attends:
            call.bank[place.path("resnets")] = x
        elif place.last:
            path = place.path("attentions")
            call.bank[path] = self.get_submodule(path)(x)
        else:
            return super().after_resnet(place, x, call)
        return x
