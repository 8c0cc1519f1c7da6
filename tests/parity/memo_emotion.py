"""Emotion of speech as MEMO labels it: a label for every second, seen in three seconds of sound."""

from __future__ import annotations

import torch
from torch import Tensor

RATE = 16_000


def segments_of(samples: int) -> list[tuple[int, int]]:
    """Begin and end of each piece of sound that is labelled, in order.

    The first two seconds, then three seconds around every later one, then the last two seconds.
    """
    middle = range(RATE, samples - RATE, RATE)
    inner = [(at - RATE, min(at + 2 * RATE, samples)) for at in middle]
    return [(0, min(2 * RATE, samples)), *inner, (max(0, samples - 2 * RATE), samples)]


def timeline(labels: Tensor, samples: int, frames: int) -> Tensor:
    """Labels of the segments of ``segments_of(samples)`` -> a label for every frame, int64 [F].

    The first label holds for the first second, each inner one for the second in its middle, the
    last one for the last second, over any other.
    """
    at = torch.arange(frames, dtype=torch.float64) * samples / frames
    sample = at.floor().long()
    second = (sample // RATE).clamp(max=len(labels) - 2)
    found = labels.long()[second]
    return torch.where(sample >= samples - RATE, labels.long()[-1], found)


def label_of_clip(labels: Tensor) -> int:
    """The commonest of a clip's labels; the smallest of several."""
    return int(labels.mode().values)
