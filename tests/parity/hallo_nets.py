"""The tiny networks of one of Hallo's directories, with their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from models.checkpoints import build as shared
from models.hallo import networks as build
from models.hallo.unet import HalloUNet
from models.sd15.face_locator import FaceLocator
from models.sd15.reference_net import ReferenceNet
from tests.parity.directory import Directory

VAE_CONFIG = "vae (AutoencoderKL)"


@dataclass(frozen=True)
class Nets:
    """All networks but the speech encoder."""

    denoiser: HalloUNet
    reference: ReferenceNet
    locator: FaceLocator
    image: nn.Module
    audio: nn.Module
    vae: Any


def load(directory: Directory) -> Nets:
    """Build and load the tiny networks.

    Raises:
        WeightsError: the configuration describes none, or weights are missing or do not fit.
    """
    made = directory.build(build.networks)
    for name, network in made.items():
        directory.fill(network, name)
    vae = directory.build(lambda config: shared.build_vae(config[VAE_CONFIG]))
    directory.fill(vae, "vae")
    denoiser, reference, locator = (
        made[name] for name in ("denoising_unet", "reference_unet", "face_locator")
    )
    assert isinstance(denoiser, HalloUNet) and isinstance(reference, ReferenceNet)
    assert isinstance(locator, FaceLocator)
    image, audio = made["imageproj"], made["audioproj"]
    return Nets(denoiser, reference, locator, image, audio, vae)
