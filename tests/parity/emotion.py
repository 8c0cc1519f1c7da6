"""MEMO's emotion of speech: one label per second, classified from three seconds of sound.

The product has no features to classify (emotion2vec is not among the publisher's files), so only
the replays run this.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RATE = 16_000


class EmotionClassifier(nn.Module):
    """Pooled speech features -> probabilities of the emotions."""

    def __init__(
        self, features: int = 1024, hidden: int = 2048, layers: int = 5, classes: int = 9
    ) -> None:
        super().__init__()
        widths = [features, *[hidden] * (layers - 1), classes]
        self.layers = nn.ModuleDict(
            {f"fc{k + 1}": nn.Linear(widths[k], widths[k + 1]) for k in range(layers)}
        )

    def forward(self, pooled: Tensor) -> Tensor:
        """[B, D] -> [B, classes]; each row sums to 1."""
        *inner, last = self.layers.values()
        for layer in inner:
            pooled = F.relu(layer(pooled))
        out: Tensor = last(pooled).softmax(dim=-1)
        return out


def segments_of(samples: int) -> list[tuple[int, int]]:
    """Begin and end of every segment that is labelled, in samples, in order.

    The first two seconds, then three seconds around every later one, then the last two seconds.
    """
    middle = range(RATE, samples - RATE, RATE)
    inner = [(begin - RATE, min(begin + 2 * RATE, samples)) for begin in middle]
    return [(0, min(2 * RATE, samples)), *inner, (max(0, samples - 2 * RATE), samples)]


def timeline(labels: Tensor, samples: int, frames: int) -> Tensor:
    """Labels of the segments of ``segments_of(samples)`` -> a label for every frame, int64 [F].

    The first label holds for the first second, each inner one for the second in its middle, the
    last one for the last second, over any other.
    """
    time = torch.arange(frames, dtype=torch.float64) * samples / frames
    sample = time.floor().long()
    second = (sample // RATE).clamp(max=len(labels) - 2)
    inner = labels.long()[second]
    return torch.where(sample >= samples - RATE, labels.long()[-1], inner)


def label_of_clip(labels: Tensor) -> int:
    """The most frequent of a clip's labels; the smallest of several."""
    return int(labels.mode().values)
