"""MEMO as the sampler drives it, and what a clip reads once before its steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from models.lightning.focus import Focus
from models.memo.memory_attention import Memories
from models.memo.unet import STREAM, MemoCall, MemoNet, MemoReferenceNet
from models.nn.attention import KeyValue
from models.sd15.cfg import GuidedBackbone, GuidedCondition
from models.sd15.reference_bank import read_pictures, split_past


class MemoBackbone(GuidedBackbone):
    """The denoiser with guidance; parts of its conditions: bank, face, memory, labels, audio."""

    network: MemoNet

    def call(self, cond: GuidedCondition, focus: Focus) -> MemoCall:
        """What the network's hooks need for one call."""
        parts = cond.parts
        return MemoCall(
            cond.frames,
            cond.halves,
            parts["bank"],
            parts["face"],
            parts["memory"],
            parts["labels"],
            parts["audio"],
            plain=len(parts["labels"]) // cond.halves * (cond.halves - 1),
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


class Clip(NamedTuple):
    """What pictures give a clip: reference keys and values by path, and the memory."""

    bank: dict[str, KeyValue]
    memory: Memories


def read_clip(
    network: MemoNet,
    reference: MemoReferenceNet,
    latents: Tensor,
    faces: Tensor,
    before: Memories | None,
) -> Clip:
    """Read the portrait and past frames, once for a clip; no step needs to write a memory.

    Args:
        latents: of the portrait, then of n past frames [1 + n, 4, H, W].
        faces: face tokens of each half [halves, M, D].
        before: the memory that the clip before left; None before the first.
    """
    recording = read_pictures(reference, latents, faces)
    height, width = latents.shape[2:]
    pictures, past = split_past(network, recording.bank, len(faces), (height, width))
    return Clip(network.read_bank(pictures), network.remember(past, before))


def hear_both(tokens: Tensor, halves: int) -> Tensor:
    """Audio tokens [1, F, M, D] -> of all rows [halves * F, M, D], zeros first."""
    heard = tokens.flatten(0, 1)
    return torch.cat([torch.zeros_like(heard)] * (halves - 1) + [heard])


def label_both(label: int, unlabelled: int, frames: int, halves: int) -> Tensor:
    """One emotion label for a clip -> of all rows, int64 [halves * F]."""
    both = torch.tensor([unlabelled] * (halves - 1) + [label])
    return both.repeat_interleave(frames)
