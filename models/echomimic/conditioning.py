"""EchoMimic as the sampler drives it, for clips of a window's length."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from models.echomimic.unet import EchoMimicCall, EchoMimicUNet
from models.lightning.focus import Focus
from models.nn.attention import KeyValue
from models.sd15.cfg import SD15Conditioning, SD15Denoiser


class EchoMimicDenoiser(SD15Denoiser):
    """The denoiser, guided or (EchoMimic-Acc) with a single branch.

    Parts of its conditions: audio by path, of all rows; face. Shared by both halves: bank by path.
    """

    network: EchoMimicUNet

    def call(self, cond: SD15Conditioning, focus: Focus) -> EchoMimicCall:
        """What the network's hooks need for one call."""
        return EchoMimicCall(
            cond.frames,
            cond.num_branches,
            cond.shared["bank"],
            cond.parts["audio"],
            cond.parts["face"],
            focus,
            self.without_reference,
        )

    def hearing(
        self,
        identity_id: str,
        foreground: Tensor | None,
        bank: Mapping[str, KeyValue],
        face: Tensor,
        audio: Tensor,
    ) -> SD15Conditioning:
        """The condition of a chunk.

        Args:
            bank: keys and values of the reference, by path.
            face: located face [1, C, H, W].
            audio: tokens [1, F, M, D].
        """
        parts = {
            "audio": self.network.hear(audio, num_branches=self.num_branches),
            "face": torch.cat([torch.zeros_like(face)] * (self.num_branches - 1) + [face]),
        }
        return self.condition(identity_id, foreground, parts, {"bank": bank}, audio.shape[1])
