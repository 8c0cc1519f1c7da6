"""The convolutional layers: residual block, its two norms, resampling."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models.mini.resnet import Downsample, ResnetBlock, Upsample, group_norm
from models.nn.embedding import timestep_embedding
from tests.support.tiny import largest_difference, randomise

pytestmark = pytest.mark.unit


def test_the_block_is_its_equation() -> None:
    block = ResnetBlock(8, 16, embedding=6).requires_grad_(False)
    randomise(block)
    x, e = torch.randn(3, 8, 5, 5), torch.randn(3, 6)
    scale, shift = F.linear(e, block.embed.weight, block.embed.bias).view(3, 2, 16, 1, 1).unbind(1)
    h = block.conv1(F.silu(block.norm1(x)))
    h = F.group_norm(h, 8, block.norm2.weight, block.norm2.bias) * (1 + scale) + shift
    expected = block.shortcut(x) + block.conv2(F.silu(h))
    assert largest_difference(block(x, e), expected) < 1e-6


def test_a_new_block_is_the_identity() -> None:
    x = torch.randn(2, 16, 4, 4)
    assert torch.equal(ResnetBlock(16, 16, 6)(x, torch.randn(2, 6)), x)


@pytest.mark.parametrize(("channels", "side"), [(64, 16), (128, 16), (64, 32), (32, 32)])
def test_group_norm_is_the_same_whichever_kernel_runs(channels: int, side: int) -> None:
    norm = nn.GroupNorm(8, channels).requires_grad_(False)
    randomise(norm)
    x = torch.randn(2, channels, side, side).to(torch.bfloat16)
    x = x.contiguous(memory_format=torch.channels_last)
    norm.to(torch.bfloat16)
    got = group_norm(norm, x)
    assert got.dtype == torch.bfloat16
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert largest_difference(got, norm(x)) < 0.02
    assert torch.equal(group_norm(norm.float(), x.float()), norm(x.float()))


def test_resampling_halves_and_doubles() -> None:
    x = torch.randn(1, 4, 8, 6)
    assert Downsample(4, 6)(x).shape == (1, 6, 4, 3)
    assert Upsample(4, 6)(x).shape == (1, 6, 16, 12)


def test_timesteps_are_embedded_apart() -> None:
    embedded = timestep_embedding(torch.arange(1000), 64)
    assert embedded.shape == (1000, 64) and embedded.dtype == torch.float32
    assert torch.allclose(embedded.square().sum(1), torch.full((1000,), 32.0))
    assert float((embedded[1:] - embedded[:-1]).norm(dim=1).min()) > 0.1
    assert torch.equal(embedded[0], torch.cat([torch.zeros(32), torch.ones(32)]))
