"""The networks that mini is compared with: shapes, parameters, operations."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.bench import ultralight, wav2lip
from models.bench.flops import flops_of, on_meta
from models.bench.rivals import normalise
from models.bench.ultralight import UltralightUNet
from models.bench.wav2lip import Wav2LipGenerator

pytestmark = pytest.mark.unit

LIP_PARAMETERS, LIP_FLOP = 36.3e6, 7.93e9
"""As published, and as counted of the published network."""


def parameters_of(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_wav2lip_is_as_large_as_published() -> None:
    with on_meta():
        network = Wav2LipGenerator().eval()
        mel, face = torch.empty(2, *wav2lip.MEL_SHAPE), torch.empty(2, *wav2lip.FACE_SHAPE)
        assert network(mel, face).shape == (2, 3, 96, 96)
        assert flops_of(lambda: network(mel, face)) / 2 == pytest.approx(LIP_FLOP, rel=0.02)
    assert parameters_of(network) == pytest.approx(LIP_PARAMETERS, rel=0.001)


def residual(side: int, before: int, after: int, stride: int = 1) -> int:
    """MACs of an inverted residual whose input has this side."""
    wide, out = 2 * before, (side // stride) ** 2
    return side**2 * before * wide + out * (9 * wide + wide * after)


def pair(side: int, before: int, after: int, stride: int = 1) -> int:
    return residual(side, before, after, stride) + residual(side // stride, after, after)


def test_ultralight_costs_what_the_closed_form_of_its_shapes_says() -> None:
    audio = (
        residual(32, 16, 64)
        + residual(32, 64, 128)
        + 16**2 * 9 * 128 * 256
        + residual(16, 256, 256)
        + 10**2 * 9 * 256 * 512
        + 2 * residual(10, 512, 512)
    )
    down = (
        residual(160, 6, 32)
        + pair(160, 32, 64, 2)
        + pair(80, 64, 128, 2)
        + pair(40, 128, 256, 2)
        + pair(20, 256, 512, 2)
    )
    up = (
        pair(10, 1024, 512)
        + pair(10, 512, 256)
        + pair(20, 512, 128)
        + pair(40, 256, 64)
        + pair(80, 128, 32)
        + pair(160, 64, 32)
        + 160**2 * 32 * 3
    )
    with on_meta():
        network = UltralightUNet().eval()
        features, face = (
            torch.empty(1, *ultralight.AUDIO_SHAPE),
            torch.empty(1, *ultralight.FACE_SHAPE),
        )
        assert network(features, face).shape == (1, 3, 160, 160)
        assert flops_of(lambda: network(features, face)) == 2 * (audio + down + up)
    assert parameters_of(network) == pytest.approx(12.2e6, rel=0.005)


def test_normalised_random_weights_keep_the_size_of_their_maps() -> None:
    torch.manual_seed(0)
    norms = [nn.BatchNorm2d(4) for _ in range(60)]
    layers = [layer for norm in norms for layer in (nn.Conv2d(4, 4, 1, bias=False), norm)]
    network, pictures = nn.Sequential(*layers), torch.rand(4, 4, 8, 8)
    with torch.no_grad():
        before = network.eval()(pictures)
        normalise(network, [pictures])
        after = network(pictures)
    assert before.std() < 1e-6 and 0.5 < after.std() < 2
    assert not network.training
