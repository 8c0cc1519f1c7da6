"""MEMO's networks from configuration values, the published ones or any others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from models.memo.unet import MemoLayers, MemoReferenceNet, MemoUNet
from models.sd15.encoders import AudioProj, ImageProj
from models.sd15.unet import unet_spec

MOTION = {"num_attention_heads": 8, "temporal_position_encoding_max_len": 32}
PUBLISHED: dict[str, Any] = {
    "diffusion_net": {
        "cross_attention_dim": 768,
        "audio_attention_dim": 768,
        "motion_module_kwargs": MOTION,
    },
    "reference_net": {"cross_attention_dim": 768},
    "image_proj": {},
    "audio_proj": {},
}
"""Where the published configuration says more than stock SD 1.5 and class defaults."""


def denoiser(config: Mapping[str, Any]) -> MemoUNet:
    """The diffusion network."""
    motion = config["motion_module_kwargs"]
    layers = MemoLayers(
        unet_spec(config),
        face_channels=config["cross_attention_dim"],
        audio_channels=config["audio_attention_dim"],
        motion_heads=motion["num_attention_heads"],
        motion_length=motion["temporal_position_encoding_max_len"],
    )
    return MemoUNet(layers)


def networks(config: Mapping[str, Any] = PUBLISHED) -> dict[str, nn.Module]:
    """All of MEMO's own networks, by the names of the published listing."""
    image, audio = config["image_proj"], config["audio_proj"]
    reference = config["reference_net"]
    return {
        "diffusion_net": denoiser(config["diffusion_net"]),
        "reference_net": MemoReferenceNet(unet_spec(reference), reference["cross_attention_dim"]),
        "image_proj": ImageProj(
            image.get("clip_embeddings_dim", 512),
            image.get("clip_extra_context_tokens", 4),
            image.get("cross_attention_dim", 768),
        ),
        "audio_proj": AudioProj(
            audio.get("seq_len", 5),
            audio.get("blocks", 12),
            audio.get("channels", 768),
            audio.get("intermediate_dim", 512),
            audio.get("context_tokens", 32),
            audio.get("output_dim", 768),
        ),
    }
