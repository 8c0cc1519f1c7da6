"""The networks of one model: tiny with a directory's weights, or of the published size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from models.checkpoints import build as shared
from models.echomimic import networks as echomimic
from models.echomimic.unet import EchoMimicUNet
from models.hallo import networks as hallo
from models.hallo.unet import HalloUNet
from models.memo import networks as memo
from models.memo.unet import MemoReferenceNet, MemoUNet
from models.sd15.reference_net import ReferenceNet
from tests.parity.directory import Directory
from tests.parity.emotion import EmotionClassifier

Denoiser = TypeVar("Denoiser")
Reference = TypeVar("Reference")


@dataclass(frozen=True)
class Networks(Generic[Denoiser, Reference]):
    """A model's networks without the speech encoder; None where the model has no such network."""

    denoiser: Denoiser
    reference: Reference
    vae: Any
    locator: Any = None
    image: Any = None
    audio: Any = None
    emotion: Any = None


HalloNetworks = Networks[HalloUNet, ReferenceNet]
EchoMimicNetworks = Networks[EchoMimicUNet, ReferenceNet]
MemoNetworks = Networks[MemoUNet, MemoReferenceNet]

_EMOTION = "audio_emotion_classifier"
_UNETS = {"denoiser": "denoising_unet", "reference": "reference_unet", "locator": "face_locator"}
# The published names of the networks; of the autoencoder, the name of its configuration.
_NAMES = {
    "hallo": {**_UNETS, "image": "imageproj", "audio": "audioproj", "vae": "vae (AutoencoderKL)"},
    "echomimic": {**_UNETS, "vae": "vae"},
    "memo": {
        "denoiser": "diffusion_net",
        "reference": "reference_net",
        "image": "image_proj",
        "audio": "audio_proj",
        "emotion": _EMOTION,
        "vae": "vae",
    },
}


def load(directory: Directory) -> Networks[Any, Any]:
    """Build a directory's tiny networks and load their weights.

    Raises:
        WeightsError: the configuration describes none, or weights are missing or do not fit.
    """
    names = dict(_NAMES[directory.model])
    config_of_vae = names.pop("vae")
    networks = directory.build(lambda config: _build(directory.model, config))
    networks["vae"] = directory.build(lambda config: shared.build_vae(config[config_of_vae]))
    for name, network in networks.items():
        directory.fill(network, name)
    roles = {role: networks[name] for role, name in names.items()}
    return Networks(vae=networks["vae"], **roles)


def published(model: str) -> dict[str, nn.Module]:
    """The published sizes on the meta device, by the listing's names."""
    with torch.device("meta"):
        return _build(model)


def _build(model: str, *config: Mapping[str, Any]) -> dict[str, nn.Module]:
    if model == "hallo":
        return hallo.networks(*config)
    if model == "echomimic":
        return echomimic.networks(*config)
    sizes = config[0][_EMOTION] if config else {}
    classifier = EmotionClassifier(
        hidden=sizes.get("num_classifier_channels", 2048),
        layers=sizes.get("num_classifier_layers", 5),
    )
    return {**memo.networks(*config), _EMOTION: classifier}
