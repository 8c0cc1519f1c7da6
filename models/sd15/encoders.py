"""Small networks of Hallo and MEMO: a face embedding or speech features to tokens."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ImageProj(nn.Module):
    """A face vector -> face tokens."""

    def __init__(self, face: int, tokens: int, channels: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.proj = nn.Linear(face, tokens * channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, face: Tensor) -> Tensor:
        """[B, D] -> [B, tokens, C]."""
        out: Tensor = self.norm(self.proj(face).view(len(face), self.tokens, -1))
        return out


class AudioProj(nn.Module):
    """Windows of speech features of all layers -> audio tokens of every frame.

    Args:
        window, layers, channels: of the features; hidden: width; outputs: of a token.
    """

    def __init__(
        self, window: int, layers: int, channels: int, hidden: int, tokens: int, outputs: int
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.proj1 = nn.Linear(window * layers * channels, hidden)
        self.proj2 = nn.Linear(hidden, hidden)
        self.proj3 = nn.Linear(hidden, tokens * outputs)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, features: Tensor) -> Tensor:
        """[B, F, window, layers, channels] -> [B, F, tokens, C]."""
        h = F.relu(self.proj1(features.flatten(2)))
        h = self.proj3(F.relu(self.proj2(h)))
        out: Tensor = self.norm(h.view(*h.shape[:2], self.tokens, -1))
        return out
