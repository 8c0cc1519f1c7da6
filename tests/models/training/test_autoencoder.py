"""What the autoencoder's training minimises."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.training.autoencoder import sharpness_loss

pytestmark = pytest.mark.unit


@pytest.fixture
def picture() -> Tensor:
    """Noise as fine as a pixel, [1, 3, 48, 48]."""
    return torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(1))


def blurred(picture: Tensor) -> Tensor:
    """The picture without its finest detail."""
    return torch.nn.functional.avg_pool2d(picture, 3, 1, 1, count_include_pad=False)


def test_a_blur_is_not_sharp_and_other_detail_of_the_same_energy_is(picture: Tensor) -> None:
    even = torch.ones_like(picture[:, :1])
    assert sharpness_loss(picture, picture, even) == 0
    assert sharpness_loss(picture, blurred(picture), even) > 1.0
    assert sharpness_loss(picture, 1 - picture, even) < 1e-4
    assert sharpness_loss(picture, picture.flip(-1), even) < 0.5


def test_it_counts_where_the_weights_are(picture: Tensor) -> None:
    half = picture.clone()
    half[..., 24:] = blurred(picture)[..., 24:]
    weights = torch.zeros_like(picture[:, :1])
    weights[..., :18] = 1
    assert sharpness_loss(picture, half, weights) < 0.01
    assert sharpness_loss(picture, half, weights.flip(-1)) > 0.1
