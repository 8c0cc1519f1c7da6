"""The anchored output against a derivation by numbers, and the maps that shape it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from models.mini.prior import (
    Prior,
    gaussian,
    geometry_planes,
    precondition,
    sigma_map,
    v_from_output,
)
from tests.support.tiny import TINY

pytestmark = pytest.mark.unit


def anchor_of(sigma: float, latent: float) -> Prior:
    shape = (1, 1, 1, 1, 1)
    return Prior(torch.full(shape, latent), torch.full(shape, sigma))


def level(a: float) -> tuple[Tensor, Tensor]:
    shape = (1, 1, 1, 1, 1)
    return torch.full(shape, a), torch.full(shape, math.sqrt(1 - a * a))


@pytest.mark.parametrize("a", [0.0, 0.3, 0.8, 0.99])
@pytest.mark.parametrize("sigma", [0.05, 0.4, 1.0])
def test_without_network_it_is_the_mean_v_of_the_prior(a: float, sigma: float) -> None:
    """E[v | z] for x ~ N(mu, sigma^2), e ~ N(0, 1), integrated on a grid."""
    mu, z = 0.7, -0.4
    s = math.sqrt(1 - a * a)
    x = torch.linspace(mu - 9 * sigma, mu + 9 * sigma, 200_001, dtype=torch.float64)
    e = (z - a * x) / s
    log_odds = -0.5 * e**2 - 0.5 * ((x - mu) / sigma) ** 2
    odds = torch.softmax(log_odds, 0)
    expected = float((odds * (a * e - s * x)).sum())
    got = v_from_output(torch.zeros(1), torch.tensor(z), *level(a), anchor_of(sigma, mu))
    assert float(got) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("a", [0.0, 0.3, 0.8, 0.99])
@pytest.mark.parametrize("sigma", [0.05, 0.4, 1.0])
def test_what_is_left_for_the_network_has_unit_variance(a: float, sigma: float) -> None:
    """Sample (x, e), remove the prior's part of v, divide by the network's gain."""
    generator = torch.Generator().manual_seed(4)
    mu, n = 0.7, 400_000
    x = mu + sigma * torch.randn(n, generator=generator, dtype=torch.float64)
    e = torch.randn(n, generator=generator, dtype=torch.float64)
    s = math.sqrt(1 - a * a)
    z, v = a * x + s * e, a * e - s * x
    anchor = anchor_of(sigma, mu)
    prior = v_from_output(torch.zeros(1), z, *level(a), anchor).flatten()
    gain = v_from_output(torch.ones(1), z, *level(a), anchor).flatten() - prior
    rest = (v - prior) / gain
    assert float(rest.mean()) == pytest.approx(0.0, abs=0.01)
    assert float(rest.std()) == pytest.approx(1.0, rel=0.01)
    seen = precondition(z, *level(a), anchor).flatten()
    assert float(seen.mean()) == pytest.approx(0.0, abs=0.01)
    assert float(seen.std()) == pytest.approx(1.0, rel=0.01)


def test_where_sigma_is_zero_the_network_is_not_heard() -> None:
    a, s = level(0.6)
    mu, z = 0.7, torch.tensor(0.2)
    got = v_from_output(torch.tensor(1e6), z, a, s, anchor_of(0.0, mu))
    clean = a * z - s * got
    assert float(clean) == pytest.approx(mu, abs=1e-6)


def test_with_unit_sigma_and_no_reference_it_is_plain_v() -> None:
    net, z = torch.randn(1, 2, 3, 4, 4), torch.randn(1, 2, 3, 4, 4)
    anchor = Prior(torch.zeros(1, 1, 3, 4, 4), torch.ones(1, 1, 1, 4, 4))
    assert torch.allclose(v_from_output(net, z, *level(0.6), anchor), net, atol=1e-6)


def test_sigma_pins_the_background_and_frees_the_mouth_most() -> None:
    mask = torch.zeros(1, 16, 16)
    mask[:, 4:13, 5:12] = 1.0
    mouth, eyes = torch.tensor([[8.0, 11.0]]), torch.tensor([[6.5, 6.5, 10.5, 6.5]])
    sigma = sigma_map(mask, mouth, eyes, TINY)[0, 0]
    assert float(sigma[0, 0]) == pytest.approx(TINY.sigma_background)
    assert float(sigma[11, 8]) == pytest.approx(TINY.sigma_mouth, abs=0.05)
    assert float(sigma.max()) <= TINY.sigma_mouth + 1e-6
    head = mask[0] > 0
    assert float(sigma[head].min()) >= TINY.sigma_face - 1e-6
    assert float(sigma[~head].max()) == pytest.approx(TINY.sigma_background)


def test_a_blob_peaks_at_its_centre_and_is_as_wide_as_said() -> None:
    bump = gaussian(torch.tensor([[4.5, 2.5]]), (8, 9), (2.0, 1.0))[0, 0]
    assert bump.shape == (8, 9)
    assert float(bump[2, 4]) == pytest.approx(1.0)
    assert float(bump[2, 6]) == pytest.approx(math.exp(-1))
    assert float(bump[3, 4]) == pytest.approx(math.exp(-1))


def test_coordinates_move_along_with_the_face() -> None:
    mask = torch.ones(1, 16, 16)
    mouth, eyes = torch.tensor([[8.0, 11.0]]), torch.tensor([[6.0, 6.0, 10.0, 6.0]])
    shift = torch.tensor([[2.0, 1.0]])
    here = geometry_planes(mask, mouth, eyes)
    there = geometry_planes(mask, mouth + shift, eyes + shift.repeat(1, 2))
    assert here.shape == (1, 5, 16, 16)
    assert torch.allclose(there[..., 1:, 2:], here[..., :-1, :-2], atol=1e-6)
