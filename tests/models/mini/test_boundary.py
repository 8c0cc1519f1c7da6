"""The boundary between two chunks is smoothed, by no more than the excess step."""

from __future__ import annotations

import pytest
import torch

from models.mini.pipeline import BOUNDARY_SHARE, spread_excess_step

pytestmark = pytest.mark.unit


def ramp(start: float, frames: int, slope: float = 1.0) -> torch.Tensor:
    values = start + slope * torch.arange(float(frames))
    return values.view(1, 1, frames, 1, 1).expand(1, 2, frames, 3, 3)


def test_the_first_chunk_is_left_alone() -> None:
    chunk = ramp(0.0, 4)
    assert torch.equal(spread_excess_step(chunk, None), chunk)


def test_movement_that_goes_on_evenly_is_left_alone() -> None:
    assert torch.allclose(spread_excess_step(ramp(2.0, 4), ramp(0.0, 2)), ramp(2.0, 4))


def test_an_excess_step_is_taken_down_and_fades() -> None:
    still, jumped = ramp(0.0, 2, slope=0.0), ramp(1.0, 4, slope=0.0)
    taken = (jumped - spread_excess_step(jumped, still))[0, 0, :, 0, 0]
    share = BOUNDARY_SHARE
    expected = torch.tensor([share, share / 2, share / 4, share / 8])
    assert torch.allclose(taken, expected)
