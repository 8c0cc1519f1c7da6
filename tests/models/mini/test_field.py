"""Conditions drawn as a map: against bilinear sampling by hand; it lies where the face lies."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.mini.field import ExpressionField
from models.nn.embedding import bands

pytestmark = pytest.mark.unit

SIDE, REACH = 6, 0.8


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
