"""Mouth blendshapes predicted from speech features by a small per-frame regressor.

Audio is used in two stages: the lips' shape is predicted from the speech first, and given to the
denoiser as an explicit condition beside the raw features; it is also a readable debug output.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.mini.motion import MOUTH_UNITS, OPENING_UNITS

CHANNEL_DROPOUT = 0.15


class BlendshapeRegressor(nn.Module):
    """Speech features around a frame -> mouth blendshapes (``MOUTH_UNITS``).

    ``mean`` and ``std`` [D] are measured on the training speech; the denoiser's audio tokens are
    computed from the same ``normalise``d features.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: int = 288, window: int = 7, width: int = 512) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        self.net = nn.Sequential(
            nn.Linear(features * window, width),
            nn.SiLU(),
            nn.Dropout(0.3),
            nn.Linear(width, width // 2),
            nn.SiLU(),
            nn.Dropout(0.1),
            nn.Linear(width // 2, len(MOUTH_UNITS)),
        )

    def normalise(self, features: Tensor) -> Tensor:
        """[..., W, D] raw -> zero mean, unit deviation per channel, clipped at 6 deviations."""
        return ((features - self.mean) / self.std).clamp(-6.0, 6.0)

    def forward(self, normalised: Tensor) -> Tensor:
        """Normalised features [..., W, D] -> mouth blendshapes [..., U], not clamped."""
        if self.training:  # the same channels are missing at all W positions
            kept = torch.rand_like(normalised[..., :1, :]) >= CHANNEL_DROPOUT
            normalised = normalised * (kept / (1 - CHANNEL_DROPOUT))
        units: Tensor = self.net(normalised.flatten(-2))
        return units


def opening_gains(gain: float) -> Tensor:
    """Factors [U] of predicted blendshapes: ``gain`` for ``OPENING_UNITS``, 1 for the others."""
    return torch.tensor([gain if name in OPENING_UNITS else 1.0 for name in MOUTH_UNITS])
