"""MEMO's conditioning: reference, memory, face, audio and emotion labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from models.lightning.pytree import register
from models.memo.memory_attention import Memories
from models.nn.attention import KeyValue
from models.sd15.cfg import SD15Conditioning
from models.sd15.reference_net import reference_row_index


@register
@dataclass(frozen=True, kw_only=True)
class MemoConditioning(SD15Conditioning):
    """Everything but the latents that a call needs, for B clips of F frames.

    Attributes:
        reference_kv: keys and values of the portrait of all branches, [num_branches * B, ...].
        face_kv: keys and values of the face embedding of all rows, by path of the transformer.
        memory: what earlier frames left, by path of the motion module.
        labels: emotion of all rows, int64 [N].
        audio: audio tokens of all rows [N, M, D], as they enter the first layer.
    """

    face_kv: Mapping[str, KeyValue]
    memory: Memories
    labels: Tensor
    audio: Tensor

    def reference_rows(self, device: torch.device) -> Tensor:
        """Portraits of all branches in turn, frame by frame (published behaviour)."""
        clips = len(self.identity_ids)
        return reference_row_index(self.num_branches, clips, self.frames, device)

    def for_light_steps(self) -> Self:
        """What the last layer's modules need."""
        attention = self.last_layer.path("attentions")
        motion = self.last_layer.path("motion_modules")
        return replace(
            self,
            reference_kv={attention: self.reference_kv[attention]},
            face_kv={attention: self.face_kv[attention]},
            memory={motion: self.memory[motion]},
        )


def labels_for_branches(label: int, unlabelled: int, frames: int, num_branches: int) -> Tensor:
    """One emotion label for a clip -> of all rows, int64 [num_branches * F]."""
    by_branch = torch.tensor([unlabelled] * (num_branches - 1) + [label])
    return by_branch.repeat_interleave(frames)
