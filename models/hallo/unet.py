"""Hallo's denoiser on the shared UNet.

Its own: after each spatial transformer an audio module with masks for background, face and lips;
motion modules see two motion frames in front of the chunk; the located face region is added to
conv_in. Motion modules at the level without attention have weights and are never run (published
behaviour).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from models.hallo.audio_module import AudioKV, MaskedAudioModule
from models.hallo.conditioning import HalloConditioning
from models.lightning.dfa import FaceTokens
from models.nn.attention import KeyValue
from models.sd15.attention import SpatialTransformer
from models.sd15.cfg import CallContext, SD15Denoiser
from models.sd15.motion_module import MotionModule
from models.sd15.reference_net import ReferenceNet, read_reference_features, split_motion_frames
from models.sd15.unet import LayerInfo, UNet, UNetSpec
from models.spec import DiffusionSpec


@dataclass(frozen=True)
class HalloLayers:
    """Transformer and audio module where there is attention; motion modules everywhere."""

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
        spec = self.spec
        return MaskedAudioModule(
            layer.channels, layer.inner, spec.heads, self.audio_channels, spec.groups
        )

    def motion(self, layer: LayerInfo) -> nn.Module | None:
        """At every layer, run or not."""
        return MotionModule(layer.channels, self.motion_heads, self.motion_length)


class HalloUNet(UNet[CallContext[HalloConditioning]]):
    """The denoising UNet."""

    def __init__(self, factory: HalloLayers) -> None:
        super().__init__(factory.spec, factory)

    def input_features(self, x: Tensor, context: CallContext[HalloConditioning]) -> Tensor:
        """conv_in, and the located region in every frame."""
        cond = context.cond
        out: Tensor = self.conv_in(x) + cond.region.repeat_interleave(cond.frames, 0)
        return out

    def apply_attention(
        self, layer: LayerInfo, x: Tensor, context: CallContext[HalloConditioning]
    ) -> Tensor:
        """Transformer, audio and motion where there is attention, else nothing."""
        if not layer.has_attention:
            return x
        cond, dfa = context.cond, context.dfa_at(layer)
        path = layer.path("attentions")
        x = self.transformer(path)(x, cond.reference(path), cond.face_kv[path], dfa=dfa)
        path = layer.path("audio_modules")
        masks = cond.masks[layer.level].repeat_interleave(cond.frames, 0)
        x = self.audio_module(path)(x, cond.audio_kv[path], masks, cond.audio_weights, dfa=dfa)
        path = layer.path("motion_modules")
        motion = self.get_submodule(path)
        out: Tensor = motion(x, cond.frames, cond.motion_frames[path], dfa=dfa)
        return out

    def project_audio(self, tokens: Tensor) -> dict[str, AudioKV]:
        """Audio tokens of all rows [N, M, D] -> keys and values by path, once a chunk."""
        paths = self.attention_paths("audio_modules")
        return {path: self.audio_module(path).block.project(tokens) for path in paths}

    def audio_module(self, path: str) -> MaskedAudioModule:
        """The audio module at ``path``."""
        module = self.get_submodule(path)
        assert isinstance(module, MaskedAudioModule)
        return module


class ChunkReference(NamedTuple):
    """What pictures give a chunk, by path: keys and values of the portrait, motion frames' maps."""

    reference_kv: dict[str, KeyValue]
    motion_frames: dict[str, Tensor]


def read_chunk_reference(
    network: HalloUNet,
    reference: ReferenceNet,
    latents: Tensor,
    faces: Tensor,
    *,
    half_precision: bool = False,
) -> ChunkReference:
    """Read the portrait and the motion frames, once for a chunk.

    Args:
        latents: of the portrait, then of n motion frames [1 + n, 4, H, W].
        faces: face embedding tokens of each branch [num_branches, M, D].
        half_precision: round the features to half precision, as the published code does whatever
            the networks compute in.
    """
    features = read_reference_features(reference, latents, faces)
    if half_precision:
        features = {path: x.half().to(x.dtype) for path, x in features.items()}
    height, width = latents.shape[2:]
    portrait, motion_frames = split_motion_frames(network, features, len(faces), (height, width))
    return ChunkReference(network.project_reference(portrait), motion_frames)


class HalloDenoiser(SD15Denoiser[HalloConditioning]):
    """The UNet with guidance, as the sampler calls it.

    Args:
        audio_weights: of the audio attention in background, face and lips.
    """

    network: HalloUNet

    def __init__(
        self,
        spec: DiffusionSpec,
        network: HalloUNet,
        guidance: float,
        audio_weights: tuple[float, ...] = (1.0, 1.0, 1.0),
        without_reference: Collection[str] = (),
    ) -> None:
        super().__init__(spec, network, guidance, without_reference)
        self.audio_weights = audio_weights

    def conditioning(
        self,
        identity_id: str,
        face_tokens: FaceTokens | None,
        *,
        pictures: ChunkReference,
        face_kv: Mapping[str, KeyValue],
        audio: Tensor,
        masks: tuple[Tensor, ...],
        region: Tensor,
    ) -> HalloConditioning:
        """The conditioning of one chunk; ``audio`` are the tokens of all rows [N, M, D]."""
        return HalloConditioning(
            identity_ids=(identity_id,),
            face_tokens=face_tokens,
            frames=self.spec.chunk_frames,
            num_branches=self.num_branches,
            last_layer=self.network.last_layer(),
            reference_kv=pictures.reference_kv,
            motion_frames=pictures.motion_frames,
            face_kv=face_kv,
            audio_kv=self.network.project_audio(audio),
            masks=masks,
            region=region,
            audio_weights=self.audio_weights,
        )
