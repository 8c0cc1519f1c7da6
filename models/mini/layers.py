"""The layer that gives a face its words: a resnet and three kinds of attention after it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.lightning.dfa import merge, select
from models.mini.audio_tokens import AudioAttention
from models.mini.resnet import ResnetBlock
from models.mini.temporal import TemporalAttention
from models.nn.attention import Context, ReferenceAttention


@dataclass(frozen=True)
class FaceWidths:
    """Widths of what a face layer is conditioned on, the same for all layers of a network."""

    embedding: int
    reference: int
    audio: int
    frames: int


class FaceLayer(nn.Module):
    """Resnet, reference attention, audio attention, temporal attention."""

    def __init__(self, in_channels: int, channels: int, heads: int, widths: FaceWidths) -> None:
        super().__init__()
        self.resnet = ResnetBlock(in_channels, channels, widths.embedding)
        self.reference = ReferenceAttention(channels, widths.reference, heads)
        self.audio = AudioAttention(channels, widths.audio, heads)
        self.temporal = TemporalAttention(channels, heads, widths.frames)

    def forward(
        self,
        x: Tensor,
        embedding: Tensor,
        reference: Context,
        audio: Context,
        frames: int,
        *,
        foreground: Tensor | None = None,
        background: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """[B * F, C_in, H, W] -> the same with C channels, and what attention added, [B*F, HW, C].

        With ``foreground`` [B, K] and the ``background`` that a key step returned, attention runs
        over face tokens only and the others reuse the cached outputs (DFA). All three attentions
        treat query tokens one by one, so caching their sum equals caching each of them.
        """
        h = self.resnet(x, embedding)
        height, width = h.shape[2:]
        tokens = h.flatten(2).transpose(1, 2)
        if foreground is not None and background is not None:
            added = self._attend(select(tokens, foreground), reference, audio, frames)
            added = merge(background, added, foreground)
        else:
            added = self._attend(tokens, reference, audio, frames)
        out = (tokens + added).transpose(1, 2).view(h.shape[0], -1, height, width)
        return out.contiguous(memory_format=torch.channels_last), added

    def _attend(self, x: Tensor, reference: Context, audio: Context, frames: int) -> Tensor:
        added: Tensor = self.reference(x, reference)
        added = added + self.audio(x + added, audio)
        added = added + self.temporal(x + added, frames)
        return added
