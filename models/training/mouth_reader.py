"""Trains the mouth reader on the speech of a pool, and judges it on held-out voices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.mini.audio import CHUNK_FRAMES
from models.mini.motion import MOUTH_UNITS
from models.mini.mouth import BlendshapeRegressor
from models.training.pool_speech import HeardSpeech, frame_windows
from models.training.speech_features import correlations, fit, normalisation

STEPS = 8_000
CLOSED_SHARE = 0.25
"""A jaw counts as closed up to this opening, in deviations of the truth."""


def train_reader(
    heard: Sequence[HeardSpeech],
    *,
    steps: int,
    keep: tuple[Tensor, Tensor] | None,
    device: torch.device,
) -> BlendshapeRegressor:
    """Train a reader on all frames of ``heard``; it is on the CPU wherever it was trained.

    Args:
        keep: mean and deviation of the features [D] that a denoiser was trained with; measured
            if None.
    """
    torch.manual_seed(0)
    regressor = BlendshapeRegressor()
    mean, std = keep or normalisation(torch.cat([h.features.flatten(0, 1) for h in heard]))
    regressor.mean.copy_(mean)
    regressor.std.copy_(std)
    features = torch.cat([regressor.normalise(h.features.float()).bfloat16() for h in heard])
    features, mouth = features.to(device), torch.cat([h.mouth for h in heard]).to(device)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        chunks = torch.randint(len(features), (count,), device=device)
        frames = torch.randint(CHUNK_FRAMES, (count,), device=device)
        windows = frame_windows(features[chunks])
        return windows[torch.arange(count, device=device), frames], mouth[chunks, frames]

    fit(regressor.to(device), draw, mouth.flatten(0, 1).std(0), steps=steps)
    return regressor.cpu().eval()


@torch.no_grad()
def judge_reader(regressor: BlendshapeRegressor, heard: Sequence[HeardSpeech]) -> dict[str, Any]:
    """What a reader makes of speech it was not trained on.

    Returns:
        ``correlation`` with the truth by blendshape, ``mean_correlation``; the jaw's deviation in
        percent of the true one, ``amplitude_percent``; and ``closure_percent``, the share of p, b
        and m within one frame of which the jaw closes.
    """
    read = [regressor(frame_windows(regressor.normalise(h.features.float()))) for h in heard]
    found = torch.cat(read).flatten(0, 1)
    true = torch.cat([h.mouth for h in heard]).flatten(0, 1)
    jaw, units = MOUTH_UNITS.index("jawOpen"), correlations(found, true)
    spread = true[:, jaw].std()
    closed = [
        bool(track.flatten(0, 1)[max(0, k - 1) : k + 2, jaw].min() <= CLOSED_SHARE * spread)
        for track, h in zip(read, heard, strict=True)
        for k in h.lips.tolist()
    ]
    return {
        "correlation": units,
        "mean_correlation": round(sum(units.values()) / max(len(units), 1), 4),
        "amplitude_percent": round(100 * float(found[:, jaw].std() / spread), 1),
        "closure_percent": round(100 * sum(closed) / max(len(closed), 1), 1),
    }
