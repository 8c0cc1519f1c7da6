"""The tiny networks of one of MEMO's directories, with their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from models.checkpoints import build as shared
from models.memo import networks as build
from models.memo.unet import MemoReferenceNet, MemoUNet
from tests.parity.directory import Directory


@dataclass(frozen=True)
class Nets:
    """The tiny networks of a directory with their weights."""

    denoiser: MemoUNet
    reference: MemoReferenceNet
    image: nn.Module
    audio: nn.Module
    emotion: nn.Module
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
    denoiser, reference = made["diffusion_net"], made["reference_net"]
    assert isinstance(denoiser, MemoUNet) and isinstance(reference, MemoReferenceNet)
    image, audio, emotion = (
        made[name] for name in ("image_proj", "audio_proj", "audio_emotion_classifier")
    )
    return Nets(denoiser, reference, image, audio, emotion, vae)
