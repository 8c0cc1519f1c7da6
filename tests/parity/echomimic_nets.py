"""The tiny networks of one of EchoMimic's directories, with their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.checkpoints import build as shared
from models.echomimic import networks as build
from models.echomimic.unet import EchoMimicUNet
from models.sd15.face_locator import FaceLocator
from models.sd15.reference_net import ReferenceNet
from tests.parity.directory import Directory


@dataclass(frozen=True)
class Nets:
    """The tiny networks of a directory with their weights."""

    denoiser: EchoMimicUNet
    reference: ReferenceNet
    locator: FaceLocator
    vae: Any


def load(directory: Directory) -> Nets:
    """Build and load the tiny networks.

    Raises:
        WeightsError: the configuration describes none, or weights are missing or do not fit.
    """
    made = directory.build(build.networks)
    for name, network in made.items():
        directory.fill(network, name)
    vae = directory.build(lambda config: shared.build_vae(config["vae"]))
    directory.fill(vae, "vae")
    denoiser, reference, locator = (
        made[name] for name in ("denoising_unet", "reference_unet", "face_locator")
    )
    assert isinstance(denoiser, EchoMimicUNet) and isinstance(reference, ReferenceNet)
    assert isinstance(locator, FaceLocator)
    return Nets(denoiser, reference, locator, vae)
