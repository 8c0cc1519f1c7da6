"""The layers: residual block, resampling, attention along time, and conditions drawn as a map."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.mini.layers import (
    ExpressionField,
    MiniDownsample,
    MiniTemporalAttention,
    MiniUpsample,
    ResnetBlock,
    group_norm,
)
from models.nn.embedding import bands, timestep_embedding
from tests.support.tiny import largest_difference, randomise

pytestmark = pytest.mark.unit

SIDE, REACH = 6, 0.8


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
    assert MiniDownsample(4, 6)(x).shape == (1, 6, 4, 3)
    assert MiniUpsample(4, 6)(x).shape == (1, 6, 16, 12)


def test_timesteps_are_embedded_apart() -> None:
    embedded = timestep_embedding(torch.arange(1000), 64)
    assert embedded.shape == (1000, 64) and embedded.dtype == torch.float32
    assert torch.allclose(embedded.square().sum(1), torch.full((1000,), 32.0))
    assert float((embedded[1:] - embedded[:-1]).norm(dim=1).min()) > 0.1
    assert torch.equal(embedded[0], torch.cat([torch.zeros(32), torch.ones(32)]))


def temporal_layer(*, fused: bool, dtype: torch.dtype = torch.float32) -> MiniTemporalAttention:
    made = MiniTemporalAttention(channels=12, heads=3, max_frames=4).requires_grad_(False)
    randomise(made)
    made.to(dtype)
    if fused:
        made.fuse()
    return made


@pytest.mark.parametrize("clips", [1, 2, 3])
@pytest.mark.parametrize("frames", [1, 3, 4])
def test_fused_is_plain(clips: int, frames: int) -> None:
    x = torch.randn(clips * frames, 5, 12)
    expected = temporal_layer(fused=False)(x, frames)
    assert largest_difference(temporal_layer(fused=True)(x, frames), expected) < 1e-5


def test_fused_is_plain_in_bfloat16() -> None:
    x = torch.randn(8, 5, 12, dtype=torch.bfloat16)
    plain = temporal_layer(fused=False, dtype=torch.bfloat16)(x, 4)
    assert largest_difference(temporal_layer(fused=True, dtype=torch.bfloat16)(x, 4), plain) < 0.05


@pytest.mark.parametrize("fused", [False, True])
def test_places_do_not_see_each_other_and_clips_neither(fused: bool) -> None:
    made, x = temporal_layer(fused=fused), torch.randn(8, 5, 12)
    before = made(x, 4)
    x[1, 2, 0] += 1.0
    changed = (made(x, 4) - before).abs().amax(-1) > 1e-5
    assert changed[:4, 2].all() and not changed[4:].any()
    assert not changed[:, [0, 1, 3, 4]].any()


@pytest.mark.parametrize("fused", [False, True])
def test_frames_know_their_position(fused: bool) -> None:
    same = torch.randn(1, 5, 12).repeat(4, 1, 1)
    out = temporal_layer(fused=fused)(same, 4)
    assert largest_difference(out[0], out[3]) > 1e-3


def test_channels_that_do_not_divide_into_heads_are_refused() -> None:
    with pytest.raises(ValueError, match="heads"):
        MiniTemporalAttention(10, 3, 4)


def make_field() -> ExpressionField:
    torch.manual_seed(0)
    return ExpressionField(5, templates=4, channels=3, side=SIDE, reach=REACH).requires_grad_(False)


def grid(height: int, width: int, left: float = 0.0) -> Tensor:
    """Face coordinates (x, y) of a picture's cells, [1, 2, H, W]."""
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height), torch.linspace(-1, 1, width) - left, indexing="ij"
    )
    return torch.stack([x, y])[None]


def by_hand(templates: Tensor, x: float, y: float) -> Tensor:
    """Bilinear value [C] of [C, S, S] at face coordinates; cells beyond the border are zero."""
    column, row = ((value / REACH + 1) * SIDE / 2 - 0.5 for value in (x, y))
    value = torch.zeros(len(templates))
    for r in (math.floor(row), math.floor(row) + 1):
        for c in (math.floor(column), math.floor(column) + 1):
            if 0 <= r < SIDE and 0 <= c < SIDE:
                share = (1 - abs(row - r)) * (1 - abs(column - c))
                value += share * templates[:, r, c]
    return value


def test_it_is_the_mixed_templates_sampled_at_every_cell() -> None:
    field, vector, places = make_field(), torch.randn(1, 2, 5), grid(5, 7)
    maps = field(vector, places)
    assert maps.shape == (1, 2, 3, 5, 7)
    weights = F.silu(field.mix(vector))
    templates = field.templates.weight.view(3, SIDE, SIDE, 4)
    for frame in range(2):
        mixed = templates @ weights[0, frame]
        for row in range(5):
            for column in range(7):
                x, y = places[0, :, row, column].tolist()
                expected = by_hand(mixed, x, y)
                assert torch.allclose(maps[0, frame, :, row, column], expected, atol=1e-5)


def test_it_moves_with_the_face_and_ends_beyond_it() -> None:
    field, vector = make_field(), torch.randn(1, 1, 5)
    here, there = grid(9, 9), grid(9, 9, left=2 / 8)  # the face one cell further right
    assert torch.allclose(field(vector, here)[..., :-1], field(vector, there)[..., 1:], atol=1e-5)
    assert field(vector, here + 3.0).abs().max() == 0


def test_each_portrait_and_frame_has_its_own() -> None:
    field, vectors = make_field(), torch.randn(2, 3, 5)
    places = torch.cat([grid(4, 4), grid(4, 4, left=0.3)])
    together = field(vectors, places)
    for row in range(2):
        for frame in range(3):
            alone = field(vectors[row, None, frame, None], places[row, None])
            assert torch.allclose(together[row, frame], alone[0, 0], atol=1e-6)


def test_bands_are_sines_and_cosines_beside_the_number() -> None:
    told = bands(torch.tensor([[0.25, 1.0]]), 2)
    expected = [0.25, 1.0]
    for x in (0.25, 1.0):
        expected += [math.sin(math.pi * x), math.sin(2 * math.pi * x)]
        expected += [math.cos(math.pi * x), math.cos(2 * math.pi * x)]
    assert told[0].tolist() == pytest.approx(expected, abs=1e-6)
