"""Hallo as the sampler drives it, and what a chunk reads once before its steps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from models.hallo.unet import HalloCall, HalloUNet
from models.lightning.focus import Focus
from models.nn.attention import KeyValue
from models.sd15.cfg import SD15Conditioning, SD15Denoiser
from models.sd15.reference_bank import read_reference_features, split_motion_frames
from models.sd15.reference_net import ReferenceNet
from models.spec import DiffusionSpec


class HalloDenoiser(SD15Denoiser):
    """The denoiser with guidance.

    Parts of its conditions: bank, past, face and audio by path; masks, region.

    Args:
        weights: of what is heard in background, face and lips.
    """

    network: HalloUNet

    def __init__(
        self,
        spec: DiffusionSpec,
        network: HalloUNet,
        guidance: float,
        weights: tuple[float, ...] = (1.0, 1.0, 1.0),
        without_reference: Collection[str] = (),
    ) -> None:
        super().__init__(spec, network, guidance, without_reference)
        self.weights = weights

    def call(self, cond: SD15Conditioning, focus: Focus) -> HalloCall:
        """What the network's hooks need for one call."""
        parts = cond.parts
        clips = len(parts["region"]) // cond.num_branches
        return HalloCall(
            cond.frames,
            cond.num_branches,
            parts["bank"],
            parts["past"],
            parts["face"],
            parts["audio"],
            parts["masks"],
            parts["region"],
            self.weights,
            plain=(cond.num_branches - 1) * clips * cond.frames,
            focus=focus,
            without_reference=self.without_reference,
        )


class ChunkReference(NamedTuple):
    """What pictures give a chunk, by path: keys and values of the portrait, maps of the past."""

    bank: dict[str, KeyValue]
    past: dict[str, Tensor]


def read_chunk_reference(
    network: HalloUNet,
    reference: ReferenceNet,
    latents: Tensor,
    faces: Tensor,
    *,
    half_bank: bool = False,
) -> ChunkReference:
    """Read the portrait and the motion frames, once for a chunk.

    Args:
        latents: of the portrait, then of n motion frames [1 + n, 4, H, W].
        faces: face tokens of each half [num_branches, M, D].
        half_bank: round what is recorded to half precision, as the published code does whatever
            the networks compute in.
    """
    bank: Mapping[str, Tensor] = read_reference_features(reference, latents, faces).bank
    if half_bank:
        bank = {path: seen.half().to(seen.dtype) for path, seen in bank.items()}
    height, width = latents.shape[2:]
    pictures, past = split_motion_frames(network, bank, len(faces), (height, width))
    return ChunkReference(network.read_bank(pictures), past)


def zeros_for_uncond(conditional: Tensor, num_branches: int) -> Tensor:
    """[1, ...] -> [num_branches, ...]: zeros for the unconditional half (published behaviour)."""
    return torch.cat([torch.zeros_like(conditional)] * (num_branches - 1) + [conditional])
