"""Mixes the channels of a sound to one without losing what only some of them hold.

The mean of channels is no mix: two that are wired against each other cancel, and one that speaks
alone among many is lost. Here each channel is added with the sign that agrees with those before it,
a surround channel more quietly than a front one and the bass channel not at all, and the mix is as
loud as the loudest of them. All of that follows from the channels' covariance, which is averaged
over ``MEMORY_S``; it is measured in blocks of ``BLOCK_S``, and the mixing moves linearly from block
to block, so there are no steps. Nothing looks ahead, and cutting the input elsewhere changes
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BLOCK_S = 0.01
MEMORY_S = 0.1
FRONT = frozenset({"FL", "FR", "FC", "FLC", "FRC"})
BASS = frozenset({"LFE", "LFE2"})
"""FFmpeg's names of channels; all others are surround."""
SURROUND_WEIGHT = 0.5**0.5
DEAD = 1e-4
"""Share of the loudest channel's power under which all others count as silent."""
_NEVER_ZERO = 1e-30


class Downmix:
    """The mix of one stream."""

    def __init__(self, channels: Sequence[str], rate: int) -> None:
        """``channels``: FFmpeg's name of each, such as FL; ``rate`` in Hz."""
        self._weights = np.array([_weight(name) for name in channels])
        self._size = max(1, round(BLOCK_S * rate))
        self._keep = float(np.exp(-BLOCK_S / MEMORY_S))
        count = len(channels)
        self._covariance = np.full((count, count), 1e-8)  # as if a quiet sound were in all
        self._block = np.zeros((count, 0))
        self._before = self._after = _mixing(self._covariance, self._weights)

    def push(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mix the stream's next samples, float32 [N, C] to [N]; loud ones may pass 1."""
        if sound.shape[1] == 1:
            return sound[:, 0]
        given = self._block.shape[1]
        known = np.concatenate([self._block, sound.T], 1)
        mixed = np.empty(known.shape[1])
        steps = np.arange(1, self._size + 1) / self._size
        for start in range(0, known.shape[1], self._size):
            block = known[:, start : start + self._size]
            length = block.shape[1]
            ways = self._before[:, None] + (self._after - self._before)[:, None] * steps[:length]
            mixed[start : start + length] = (block * ways).sum(0)
            if length == self._size:
                self._learn(block)
        self._block = known[:, known.shape[1] // self._size * self._size :].copy()
        return mixed[given:].astype(np.float32)

    def _learn(self, block: NDArray[np.float64]) -> None:
        power = (block[:, None] * block[None]).mean(2)
        self._covariance = self._keep * self._covariance + (1 - self._keep) * power
        self._before, self._after = self._after, _mixing(self._covariance, self._weights)


def _weight(name: str) -> float:
    if name in BASS:
        return 0.0
    return 1.0 if name in FRONT else SURROUND_WEIGHT


def _mixing(covariance: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each channel is multiplied with, [C], for a covariance [C, C]."""
    powers = covariance.diagonal() + _NEVER_ZERO
    if (powers * (weights > 0)).max() < DEAD * powers.max():
        weights = np.ones_like(weights)  # the bass channel alone is live: it is no bass channel
    mixing = np.zeros_like(weights)
    for c in np.flatnonzero(weights):
        size = np.sqrt(powers[c] * max(mixing @ covariance @ mixing, _NEVER_ZERO))
        agreement = (mixing @ covariance[c]) / size  # -1 to 1
        mixing[c] = weights[c] * np.clip(5 * agreement + 2.5, -1, 1)  # turned over below -0.5
    loudest = (powers * (weights > 0)).max()
    scaled: NDArray[np.float64] = mixing * np.sqrt(
        loudest / max(mixing @ covariance @ mixing, _NEVER_ZERO)
    )
    return scaled
