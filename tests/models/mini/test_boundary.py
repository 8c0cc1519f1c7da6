"""The seam between two chunks is smoothed, and only as much as it sticks out."""

from __future__ import annotations

import pytest
import torch

from models.mini.pipeline import SEAM, _spread

pytestmark = pytest.mark.unit


def ramp(start: float, frames: int, slope: float = 1.0) -> torch.Tensor:
    values = start + slope * torch.arange(float(frames))
    return values.view(1, 1, frames, 1, 1).expand(1, 2, frames, 3, 3)


def test_the_first_chunk_is_left_alone() -> None:
    chunk = ramp(0.0, 4)
    assert torch.equal(_spread(chunk, None), chunk)


def test_movement_that_goes_on_evenly_is_left_alone() -> None:
    assert torch.allclose(_spread(ramp(2.0, 4), ramp(0.0, 2)), ramp(2.0, 4))


def test_an_excess_step_is_taken_down_and_fades() -> None:
    still, jumped = ramp(0.0, 2, slope=0.0), ramp(1.0, 4, slope=0.0)
    taken = (jumped - _spread(jumped, still))[0, 0, :, 0, 0]
    expected = torch.tensor([SEAM, SEAM / 2, SEAM / 4, SEAM / 8])
    assert torch.allclose(taken, expected)
