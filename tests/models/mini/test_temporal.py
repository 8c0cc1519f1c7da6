"""Temporal attention: along time only, with positions, and the same in its fast form."""

from __future__ import annotations

import pytest
import torch

from models.mini.temporal import TemporalAttention
from tests.support.tiny import largest_difference, randomise

pytestmark = pytest.mark.unit


def layer(*, fused: bool, dtype: torch.dtype = torch.float32) -> TemporalAttention:
    made = TemporalAttention(channels=12, heads=3, max_frames=4).requires_grad_(False)
    randomise(made)
    made.to(dtype)
    if fused:
        made.fuse()
    return made


@pytest.mark.parametrize("clips", [1, 2, 3])
@pytest.mark.parametrize("frames", [1, 3, 4])
def test_fused_is_plain(clips: int, frames: int) -> None:
    x = torch.randn(clips * frames, 5, 12)
    expected = layer(fused=False)(x, frames)
    assert largest_difference(layer(fused=True)(x, frames), expected) < 1e-5


def test_fused_is_plain_in_bfloat16() -> None:
    x = torch.randn(8, 5, 12, dtype=torch.bfloat16)
    plain = layer(fused=False, dtype=torch.bfloat16)(x, 4)
    assert largest_difference(layer(fused=True, dtype=torch.bfloat16)(x, 4), plain) < 0.05


@pytest.mark.parametrize("fused", [False, True])
def test_places_do_not_see_each_other_and_clips_neither(fused: bool) -> None:
    made, x = layer(fused=fused), torch.randn(8, 5, 12)
    before = made(x, 4)
    x[1, 2, 0] += 1.0
    changed = (made(x, 4) - before).abs().amax(-1) > 1e-5
    assert changed[:4, 2].all() and not changed[4:].any()
    assert not changed[:, [0, 1, 3, 4]].any()


@pytest.mark.parametrize("fused", [False, True])
def test_frames_know_their_position(fused: bool) -> None:
    same = torch.randn(1, 5, 12).repeat(4, 1, 1)
    out = layer(fused=fused)(same, 4)
    assert largest_difference(out[0], out[3]) > 1e-3


def test_channels_that_do_not_divide_into_heads_are_refused() -> None:
    with pytest.raises(ValueError, match="heads"):
        TemporalAttention(10, 3, 4)
