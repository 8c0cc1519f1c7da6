"""EchoMimic as the sampler drives it, for clips of a window's length."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from models.echomimic.unet import EchoCall, EchoNet
from models.lightning.focus import Focus
from models.nn.attention import KeyValue
from models.sd15.cfg import GuidedBackbone, GuidedCondition


class EchoBackbone(GuidedBackbone):
    """The denoiser, guided or (EchoMimic-Acc) with a single branch.

    Parts of its conditions: audio by path, of all rows; face. Shared by both halves: bank by path.
    """

    network: EchoNet

    def call(self, cond: GuidedCondition, focus: Focus) -> EchoCall:
        """What the network's hooks need for one call."""
        return EchoCall(
            cond.frames,
            cond.halves,
            cond.shared["bank"],
            cond.parts["audio"],
            cond.parts["face"],
            focus,
            self.without_reference,
        )

    def hearing(
        self,
        owner: str,
        foreground: Tensor | None,
        bank: Mapping[str, KeyValue],
        face: Tensor,
        audio: Tensor,
    ) -> GuidedCondition:
        """The condition of a chunk.

        Args:
            bank: keys and values of the reference, by path.
            face: located face [1, C, H, W].
            audio: tokens [1, F, M, D].
        """
        parts = {
            "audio": self.network.hear(audio, halves=self.halves),
            "face": torch.cat([torch.zeros_like(face)] * (self.halves - 1) + [face]),
        }
        return self.condition(owner, foreground, parts, {"bank": bank}, audio.shape[1])
