"""MEMO as the sampler drives it, and what a clip reads once before its steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from models.lightning.focus import Focus
from models.memo.memory_attention import Memories
from models.memo.unet import STREAM, MemoCall, MemoReferenceNet, MemoUNet
from models.nn.attention import KeyValue
from models.sd15.cfg import SD15Conditioning, SD15Denoiser
from models.sd15.reference_bank import read_reference_features, split_motion_frames


class MemoDenoiser(SD15Denoiser):
    """The denoiser with guidance; parts of its conditions: bank, face, memory, labels, audio."""

    network: MemoUNet

    def call(self, cond: SD15Conditioning, focus: Focus) -> MemoCall:
        """What the network's hooks need for one call."""
        parts = cond.parts
        return MemoCall(
            cond.frames,
            cond.num_branches,
            parts["bank"],
            parts["face"],
            parts["memory"],
            parts["labels"],
            parts["audio"],
            plain=len(parts["labels"]) // cond.num_branches * (cond.num_branches - 1),
            focus=focus,
            without_reference=self.without_reference,
        )

    def carried(self, call: MemoCall) -> dict[str, Tensor]:
        """The audio stream that entered the last layer: deeper layers made it from the latents."""
        assert call.carried is not None
        return {STREAM: call.carried}

    def carry(self, call: MemoCall, carried: Mapping[str, Tensor]) -> None:
        """Let the last layer hear what it heard at the key step."""
        call.stream = carried[STREAM]


class ClipReference(NamedTuple):
    """What pictures give a clip: reference keys and values by path, and the memory."""

    bank: dict[str, KeyValue]
    memory: Memories


def read_clip_reference(
    network: MemoUNet,
    reference: MemoReferenceNet,
    latents: Tensor,
    faces: Tensor,
    before: Memories | None,
) -> ClipReference:
    """Read the portrait and past frames, once for a clip; no step needs to write a memory.

    Args:
        latents: of the portrait, then of n past frames [1 + n, 4, H, W].
        faces: face tokens of each half [num_branches, M, D].
        before: the memory that the clip before left; None before the first.
    """
    recording = read_reference_features(reference, latents, faces)
    height, width = latents.shape[2:]
    pictures, past = split_motion_frames(network, recording.bank, len(faces), (height, width))
    return ClipReference(network.read_bank(pictures), network.remember(past, before))


def audio_for_branches(tokens: Tensor, num_branches: int) -> Tensor:
    """Audio tokens [1, F, M, D] -> of all rows [num_branches * F, M, D], zeros first."""
    heard = tokens.flatten(0, 1)
    return torch.cat([torch.zeros_like(heard)] * (num_branches - 1) + [heard])


def labels_for_branches(label: int, unlabelled: int, frames: int, num_branches: int) -> Tensor:
    """One emotion label for a clip -> of all rows, int64 [num_branches * F]."""
    both = torch.tensor([unlabelled] * (num_branches - 1) + [label])
    return both.repeat_interleave(frames)
