"""EchoMimic's conditioning: reference, audio and located face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from models.lightning.pytree import map_tensors, register
from models.nn.attention import KeyValue
from models.sd15.cfg import SD15Conditioning


@register
@dataclass(frozen=True, kw_only=True)
class EchoMimicConditioning(SD15Conditioning):
    """Everything but the latents that a call needs, for B clips of F frames.

    Attributes:
        reference_kv: keys and values of the portrait, the same for all branches, [B, ...].
        audio_kv: keys and values of the audio of all rows, by path of the transformer.
        face: located faces added to conv_in, [num_branches * B, C, H, W].
    """

    audio_kv: Mapping[str, KeyValue]
    face: Tensor

    def reference_rows(self, device: torch.device) -> Tensor:
        """Every frame reads its own clip's portrait."""
        clips = torch.arange(len(self.identity_ids), device=device)
        return clips.repeat_interleave(self.frames).repeat(self.num_branches)

    def for_light_steps(self) -> Self:
        """What the last layer's modules need."""
        path = self.last_layer.path("attentions")
        return replace(
            self,
            reference_kv={path: self.reference_kv[path]},
            audio_kv={path: self.audio_kv[path]},
        )

    def join(self, others: Sequence[Self]) -> Self:
        """As one batch; the reference has no branches."""
        whole = (self, *others)
        reference_kv = map_tensors(
            lambda *parts: torch.cat(parts), *(each.reference_kv for each in whole)
        )
        head, *rest = (replace(each, reference_kv={}) for each in whole)
        return replace(SD15Conditioning.join(head, rest), reference_kv=reference_kv)
