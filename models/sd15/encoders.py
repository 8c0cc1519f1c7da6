"""Small networks of Hallo and MEMO: a face or speech to tokens, and the emotion of speech."""

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


class EmotionClassifier(nn.Module):
    """Pooled speech features -> odds of the emotions."""

    def __init__(
        self, features: int = 1024, hidden: int = 2048, layers: int = 5, classes: int = 9
    ) -> None:
        super().__init__()
        widths = [features, *[hidden] * (layers - 1), classes]
        self.layers = nn.ModuleDict(
            {f"fc{k + 1}": nn.Linear(widths[k], widths[k + 1]) for k in range(layers)}
        )

    def forward(self, pooled: Tensor) -> Tensor:
        """[B, D] -> [B, classes], each row sums to 1."""
        *inner, last = self.layers.values()
        for layer in inner:
            pooled = F.relu(layer(pooled))
        out: Tensor = last(pooled).softmax(dim=-1)
        return out
