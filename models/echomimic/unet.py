"""EchoMimic's denoiser on the shared UNet.

Its own: audio tokens are what the spatial transformers cross-attend to, with a gain of 3; a motion
module follows every resnet's transformer at every level; the located face is added to conv_in.
Normal and accelerated (Acc) weights share this code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from models.echomimic.conditioning import EchoMimicConditioning
from models.lightning.dfa import FaceTokens
from models.nn.attention import KeyValue
from models.sd15.attention import SpatialTransformer
from models.sd15.cfg import CallContext, SD15Denoiser, zeros_for_uncond
from models.sd15.motion_module import MotionModule
from models.sd15.unet import LayerInfo, UNet, UNetSpec

AUDIO_GAIN = 3.0  # of the whole output of audio attention, its bias included: published behaviour


@dataclass(frozen=True)
class EchoMimicLayers:
    """Spatial transformers that read the audio, and a motion module everywhere."""

    spec: UNetSpec
    audio_channels: int
    motion_heads: int
    motion_length: int

    def attention(self, layer: LayerInfo) -> nn.Module | None:
        """Where the level has attention."""
        if not layer.has_attention:
            return None
        spec = self.spec
        return SpatialTransformer(
            layer.channels, spec.heads, self.audio_channels, groups=spec.groups, gain=AUDIO_GAIN
        )

    def audio(self, layer: LayerInfo) -> nn.Module | None:
        """None: audio enters through the spatial transformers."""
        return None

    def motion(self, layer: LayerInfo) -> nn.Module | None:
        """At every layer."""
        return MotionModule(layer.channels, self.motion_heads, self.motion_length)


class EchoMimicUNet(UNet[CallContext[EchoMimicConditioning]]):
    """The denoising UNet, 3D by its motion modules alone."""

    def __init__(self, factory: EchoMimicLayers) -> None:
        super().__init__(factory.spec, factory)

    def input_features(self, x: Tensor, context: CallContext[EchoMimicConditioning]) -> Tensor:
        """conv_in, and the located face in every frame."""
        cond = context.cond
        out: Tensor = self.conv_in(x) + cond.face.repeat_interleave(cond.frames, 0)
        return out

    def apply_attention(
        self, layer: LayerInfo, x: Tensor, context: CallContext[EchoMimicConditioning]
    ) -> Tensor:
        """Spatial transformer where there is one, then the motion module."""
        cond, dfa = context.cond, context.dfa_at(layer)
        if layer.has_attention:
            path = layer.path("attentions")
            x = self.transformer(path)(x, cond.reference(path), cond.audio_kv[path], dfa=dfa)
        motion = self.get_submodule(layer.path("motion_modules"))
        out: Tensor = motion(x, cond.frames, dfa=dfa)
        return out

    def project_audio(self, audio: Tensor, num_branches: int) -> dict[str, KeyValue]:
        """Audio tokens [B, F, M, D] -> keys and values of all rows by path, once a chunk.

        With guidance the unconditional rows come first and are made of zeros.
        """
        tokens = zeros_for_uncond(audio.flatten(0, 1), num_branches)
        paths = self.attention_paths()
        return {path: self.transformer(path).cross_attention.project(tokens) for path in paths}


class EchoMimicDenoiser(SD15Denoiser[EchoMimicConditioning]):
    """The UNet as the sampler calls it, guided or (EchoMimic-Acc) with a single branch."""

    network: EchoMimicUNet

    def conditioning(
        self,
        identity_id: str,
        face_tokens: FaceTokens | None,
        *,
        reference_kv: Mapping[str, KeyValue],
        face: Tensor,
        audio: Tensor,
    ) -> EchoMimicConditioning:
        """The conditioning of one clip of any length.

        Args:
            face: located face [1, C, H, W]; audio: tokens [1, F, M, D].
        """
        return EchoMimicConditioning(
            identity_ids=(identity_id,),
            face_tokens=face_tokens,
            frames=audio.shape[1],
            num_branches=self.num_branches,
            last_layer=self.network.last_layer(),
            reference_kv=reference_kv,
            audio_kv=self.network.project_audio(audio, self.num_branches),
            face=zeros_for_uncond(face, self.num_branches),
        )
