"""MEMO's networks: the denoiser on the shared UNet, and its reference network.

Its own: audio tokens run through joint audio modules from the first layer to the last; motion
modules remember earlier frames and follow every layer, with features of the reference network
where there is no attention; time is continuous (flow matching).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from models.lightning.dfa import FaceTokens
from models.memo.audio_module import JointAudioModule
from models.memo.conditioning import MemoConditioning
from models.memo.memory_attention import Memories, MemoryModule
from models.nn.attention import KeyValue
from models.sd15.attention import SpatialTransformer
from models.sd15.cfg import CallContext, SD15Denoiser
from models.sd15.reference_net import (
    ReferenceFeatures,
    ReferenceLayers,
    ReferenceNet,
    read_reference_features,
    split_motion_frames,
)
from models.sd15.unet import LayerInfo, UNet, UNetSpec

AUDIO = "audio"  # the audio tokens' name among cached features


@dataclass(frozen=True)
class MemoLayers:
    """Spatial transformer and audio module where there is attention, motion modules everywhere."""

    spec: UNetSpec
    face_channels: int
    audio_channels: int
    motion_heads: int
    motion_length: int

    def attention(self, layer: LayerInfo) -> nn.Module | None:
        """With cross-attention to face tokens."""
        if not layer.has_attention:
            return None
        spec = self.spec
        return SpatialTransformer(
            layer.channels, spec.heads, self.face_channels, groups=spec.groups
        )

    def audio(self, layer: LayerInfo) -> nn.Module | None:
        """Of the width that the block's input gives (published behaviour)."""
        if not layer.has_attention:
            return None
        return JointAudioModule(
            layer.channels,
            layer.inner,
            self.spec.heads,
            self.audio_channels,
            groups=self.spec.groups,
            last=layer.is_last,
        )

    def motion(self, layer: LayerInfo) -> nn.Module | None:
        """At every layer."""
        return MemoryModule(layer.channels, self.motion_heads, self.motion_length)


class MemoUNet(UNet[CallContext[MemoConditioning]]):
    """The denoising UNet."""

    def __init__(self, factory: MemoLayers) -> None:
        super().__init__(factory.spec, factory)

    def apply_attention(
        self, layer: LayerInfo, x: Tensor, context: CallContext[MemoConditioning]
    ) -> Tensor:
        """Transformer and audio module where there is attention, then the motion module.

        The audio tokens that enter the last layer stay in ``context.extra`` for light steps.
        """
        cond, dfa = context.cond, context.dfa_at(layer)
        if layer.has_attention:
            path = layer.path("attentions")
            x = self.transformer(path)(x, cond.reference(path), cond.face_kv[path], dfa=dfa)
            audio_module = self.get_submodule(layer.path("audio_modules"))
            audio = context.extra.get(AUDIO, cond.audio)
            x, audio_out = audio_module(x, audio, cond.labels, dfa=dfa)
            context.extra[AUDIO] = audio if layer.is_last else audio_out
        path = layer.path("motion_modules")
        out: Tensor = self.motion_module(path)(x, cond.frames, cond.memory[path], dfa=dfa)
        return out

    def write_memory(
        self, motion_frames: Mapping[str, Tensor], before: Memories | None = None
    ) -> Memories:
        """Write the memory, once for a clip.

        Args:
            motion_frames: maps [num_branches * B, n, C, H, W] by path of the motion module.
            before: the memory that earlier clips left; None starts anew.
        """
        written = {}
        for layer in self.layers():
            path = layer.path("motion_modules")
            new = self.motion_module(path).write(motion_frames[path])
            if before is not None:
                frames = motion_frames[path].shape[1]
                first, second = before[path]
                new = (first.add(new[0], frames), second.add(new[1], frames))
            written[path] = new
        return written

    def motion_module(self, path: str) -> MemoryModule:
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
class _ReferenceLayers(ReferenceLayers):
    def attention(self, layer: LayerInfo) -> nn.Module | None:
        if layer.is_last:
            return _Truncated(layer.channels, self.spec.groups)
        return super().attention(layer)


class MemoReferenceNet(ReferenceNet):
    """Records ``norm1`` outputs, and whole maps where a level has no attention."""

    factory = _ReferenceLayers

    def apply_attention(self, layer: LayerInfo, x: Tensor, context: ReferenceFeatures) -> Tensor:
        """As of ``ReferenceNet``; the last layer only records."""
        if not layer.has_attention:
            context.features[layer.path("resnets")] = x
        elif layer.is_last:
            path = layer.path("attentions")
            context.features[path] = self.get_submodule(path)(x)
        else:
            return super().apply_attention(layer, x, context)
        return x


class ClipReference(NamedTuple):
    """What pictures give a clip: reference keys and values by path, and the memory."""

    reference_kv: dict[str, KeyValue]
    memory: Memories


def read_clip_reference(
    network: MemoUNet,
    reference: MemoReferenceNet,
    latents: Tensor,
    faces: Tensor,
    before: Memories | None,
) -> ClipReference:
    """Read the portrait and motion frames, once for a clip; no step writes a memory.

    Args:
        latents: of the portrait, then of n motion frames [1 + n, 4, H, W].
        faces: face embedding tokens of each branch [num_branches, M, D].
        before: the memory that the clip before left; None before the first.
    """
    features = read_reference_features(reference, latents, faces)
    height, width = latents.shape[2:]
    portrait, motion_frames = split_motion_frames(network, features, len(faces), (height, width))
    return ClipReference(
        network.project_reference(portrait), network.write_memory(motion_frames, before)
    )


class MemoDenoiser(SD15Denoiser[MemoConditioning]):
    """The UNet with guidance, as the sampler calls it."""

    network: MemoUNet

    def conditioning(
        self,
        identity_id: str,
        face_tokens: FaceTokens | None,
        *,
        pictures: ClipReference,
        face_kv: Mapping[str, KeyValue],
        labels: Tensor,
        audio: Tensor,
    ) -> MemoConditioning:
        """The conditioning of one clip; ``labels`` [N] and ``audio`` [N, M, D] of all rows."""
        return MemoConditioning(
            identity_ids=(identity_id,),
            face_tokens=face_tokens,
            frames=self.spec.chunk_frames,
            num_branches=self.num_branches,
            last_layer=self.network.last_layer(),
            reference_kv=pictures.reference_kv,
            face_kv=face_kv,
            memory=pictures.memory,
            labels=labels,
            audio=audio,
        )
