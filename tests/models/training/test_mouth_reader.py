"""The mouth reader learns from a pool, keeps a normalisation, and is judged by what it reads."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from models.mini.audio import CHUNK_FRAMES
from models.mini.motion import MOUTH_UNITS
from models.mini.mouth import BlendshapeRegressor
from models.training.mouth_reader import judge_reader, train_reader
from models.training.pool_speech import HeardSpeech
from models.training.run import CPU

pytestmark = pytest.mark.unit

UNITS = len(MOUTH_UNITS)
JAW = MOUTH_UNITS.index("jawOpen")


def speech(chunks: int, seed: int) -> HeardSpeech:
    """Every channel of the features says how one unit moves."""
    generator = torch.Generator().manual_seed(seed)
    units = torch.randn(chunks, CHUNK_FRAMES + 6, UNITS, generator=generator)
    features = 2 + 3 * units.repeat(1, 1, 23)[..., :288]
    mouth = 0.3 + 0.02 * features[:, 3 : 3 + CHUNK_FRAMES, :UNITS]
    return HeardSpeech(features.half(), mouth, torch.arange(0, 4 * chunks, 5))


def test_it_learns_what_features_say() -> None:
    reader = train_reader([speech(200, 1), speech(200, 2)], steps=60, keep=None, device=CPU)
    found = judge_reader(reader, [speech(50, 3)])
    assert found["mean_correlation"] > 0.5
    assert set(found["correlation"]) == set(MOUTH_UNITS)
    assert float((reader.mean - 2).abs().max()) < 0.3 and float((reader.std - 3).abs().max()) < 0.3


def test_it_keeps_the_normalisation_of_a_denoiser() -> None:
    mean, std = torch.randn(288), torch.rand(288) + 1
    reader = train_reader([speech(20, 1)], steps=2, keep=(mean, std), device=CPU)
    assert torch.equal(reader.mean, mean) and torch.equal(reader.std, std)


class Told(nn.Module):
    """Stands in for the net of a reader that says ``change`` of the truth."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.change = change

    def forward(self, windows: Tensor) -> Tensor:
        """The truth of ``speech``, changed."""
        return self.change(0.3 + 0.02 * windows[..., 3 * 288 : 3 * 288 + UNITS])


def judged(change: Callable[[Tensor], Tensor]) -> dict[str, float]:
    reader = BlendshapeRegressor().eval()
    reader.net = Told(change)  # type: ignore[assignment]
    heard = speech(40, 5)
    features = heard.features.float().clamp(-5, 5)  # a fresh reader clips at 6
    found: dict[str, float] = judge_reader(
        reader, [HeardSpeech(features.half(), _truth(features), heard.lips)]
    )
    return found


def _truth(features: Tensor) -> Tensor:
    return 0.3 + 0.02 * features.half().float()[:, 3 : 3 + CHUNK_FRAMES, :UNITS]


def test_half_a_movement_agrees_and_is_small() -> None:
    found = judged(lambda truth: truth / 2)
    assert found["mean_correlation"] == 1.0 and found["amplitude_percent"] == 50.0


def test_closure_counts_lip_sounds_around_which_the_jaw_closes() -> None:
    assert judged(lambda truth: truth)["closure_percent"] == 0  # never below 0.2
    assert judged(lambda truth: truth - 1)["closure_percent"] == 100

    def one_chunk(truth: Tensor) -> Tensor:
        closed = truth.clone()
        closed[0, :, JAW] = 0  # frames 0 to 3: of the lip sounds 0 and 5 only the first is near
        return closed

    assert judged(one_chunk)["closure_percent"] == pytest.approx(100 / 32, abs=0.1)
