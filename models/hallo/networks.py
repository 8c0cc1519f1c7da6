"""Hallo's networks from configuration values, the published ones or any others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from models.hallo.unet import HalloLayers, HalloUNet
from models.sd15.encoders import AudioProj, FaceLocator, ImageProj
from models.sd15.reference_net import ReferenceNet
from models.sd15.unet import unet_spec

BASE = "reference_unet_and_denoising_unet_base"
PUBLISHED: dict[str, Any] = {
    BASE: {"cross_attention_dim": 768},
    "denoising_unet_extra": {
        "audio_attention_dim": 768,
        "motion_module_kwargs": {
            "num_attention_heads": 8,
            "temporal_position_encoding_max_len": 32,
        },
    },
    "face_locator": {
        "conditioning_embedding_channels": 320,
        "conditioning_channels": 3,
        "block_out_channels": (16, 32, 64, 128),
    },
    "imageproj": {
        "cross_attention_dim": 768,
        "clip_embeddings_dim": 512,
        "clip_extra_context_tokens": 4,
    },
    "audioproj": {
        "seq_len": 5,
        "blocks": 12,
        "channels": 768,
        "intermediate_dim": 512,
        "output_dim": 768,
        "context_tokens": 32,
    },
}
"""Where the published configuration says more than stock SD 1.5."""


def denoiser(base: Mapping[str, Any], extra: Mapping[str, Any]) -> HalloUNet:
    """The denoising UNet."""
    motion = extra["motion_module_kwargs"]
    layers = HalloLayers(
        unet_spec(base),
        face_channels=base["cross_attention_dim"],
        audio_channels=extra["audio_attention_dim"],
        motion_heads=motion["num_attention_heads"],
        motion_length=motion["temporal_position_encoding_max_len"],
    )
    return HalloUNet(layers)


def networks(config: Mapping[str, Any] = PUBLISHED) -> dict[str, nn.Module]:
    """All of Hallo's own networks, by the names of the published listing."""
    base, image, audio = config[BASE], config["imageproj"], config["audioproj"]
    locator = config["face_locator"]
    return {
        "reference_unet": ReferenceNet(unet_spec(base), base["cross_attention_dim"]),
        "denoising_unet": denoiser(base, config["denoising_unet_extra"]),
        "face_locator": FaceLocator(
            locator["conditioning_embedding_channels"],
            tuple(locator["block_out_channels"]),
            locator["conditioning_channels"],
        ),
        "imageproj": ImageProj(
            image["clip_embeddings_dim"],
            image["clip_extra_context_tokens"],
            image["cross_attention_dim"],
        ),
        "audioproj": AudioProj(
            audio["seq_len"],
            audio["blocks"],
            audio["channels"],
            audio["intermediate_dim"],
            audio["context_tokens"],
            audio["output_dim"],
        ),
    }
