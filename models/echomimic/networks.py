"""EchoMimic's networks from configuration values, the published ones or any others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from models.echomimic.unet import EchoMimicLayers, EchoMimicUNet
from models.sd15.encoders import FaceLocator
from models.sd15.reference_net import ReferenceNet
from models.sd15.unet import unet_spec

MOTION = {"num_attention_heads": 8, "temporal_position_encoding_max_len": 32}
PUBLISHED: dict[str, Any] = {
    "denoising_unet": {"cross_attention_dim": 384, "motion_module_kwargs": MOTION},
    "reference_unet": {},
    "face_locator": {
        "conditioning_embedding_channels": 320,
        "conditioning_channels": 1,
        "block_out_channels": (16, 32, 96, 256),
    },
}
"""Where the published configuration says more than stock SD 1.5."""


def denoiser(config: Mapping[str, Any]) -> EchoMimicUNet:
    """The denoising UNet with its motion modules."""
    motion = config["motion_module_kwargs"]
    layers = EchoMimicLayers(
        unet_spec(config),
        audio_channels=config["cross_attention_dim"],
        motion_heads=motion["num_attention_heads"],
        motion_length=motion["temporal_position_encoding_max_len"],
    )
    return EchoMimicUNet(layers)


def reference(config: Mapping[str, Any]) -> ReferenceNet:
    """The reference network, without cross-attention."""
    return ReferenceNet(unet_spec(config), None)


def locator(config: Mapping[str, Any]) -> FaceLocator:
    """The face locator."""
    return FaceLocator(
        config["conditioning_embedding_channels"],
        tuple(config["block_out_channels"]),
        config["conditioning_channels"],
    )


def networks(config: Mapping[str, Any] = PUBLISHED) -> dict[str, nn.Module]:
    """All of EchoMimic's own networks, by the names of the published listing."""
    return {
        "reference_unet": reference(config["reference_unet"]),
        "denoising_unet": denoiser(config["denoising_unet"]),
        "face_locator": locator(config["face_locator"]),
    }
