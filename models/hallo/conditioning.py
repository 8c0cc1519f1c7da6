"""Hallo's conditioning: reference, motion frames, face, audio, masks and face region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from models.hallo.audio_module import AudioKV
from models.lightning import pytree
from models.nn.attention import KeyValue
from models.sd15.cfg import SD15Conditioning
from models.sd15.reference_net import reference_row_index


@pytree.register
@dataclass(frozen=True, kw_only=True)
class HalloConditioning(SD15Conditioning):
    """Everything but the latents that a call needs, for B chunks of F frames.

    Attributes:
        reference_kv: keys and values of the portrait of all branches, [num_branches * B, ...].
        motion_frames: maps [num_branches * B, n, C, H, W] by path of the motion module.
        face_kv: keys and values of the face embedding of all rows, by path of the transformer.
        audio_kv: keys and values of the audio of all rows, by path of the audio module.
        masks: of background, face and lips [num_branches * B, 3, L] at each level.
        region: the located face region [num_branches * B, C, H, W], added to conv_in.
        audio_weights: of the audio attention in background, face and lips.
    """

    motion_frames: Mapping[str, Tensor]
    face_kv: Mapping[str, KeyValue]
    audio_kv: Mapping[str, AudioKV]
    masks: tuple[Tensor, ...]
    region: Tensor
    audio_weights: tuple[float, ...] = (1.0, 1.0, 1.0)

    def reference_rows(self, device: torch.device) -> Tensor:
        """Portraits of all branches in turn, frame by frame (published behaviour)."""
        clips = len(self.identity_ids)
        return reference_row_index(self.num_branches, clips, self.frames, device)

    def for_light_steps(self) -> Self:
        """What the last layer's modules need."""
        attention = self.last_layer.path("attentions")
        audio = self.last_layer.path("audio_modules")
        motion = self.last_layer.path("motion_modules")
        return replace(
            self,
            reference_kv={attention: self.reference_kv[attention]},
            motion_frames={motion: self.motion_frames[motion]},
            face_kv={attention: self.face_kv[attention]},
            audio_kv={audio: self.audio_kv[audio]},
        )
