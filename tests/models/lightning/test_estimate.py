"""Input latents estimation against the paper's equations in lambda and tau, written out here."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from models.lightning.schedule import (
    ddim,
    ddim_step,
    estimate_inputs,
    make_schedule,
    predict_eps,
    predict_x0_eps,
    trailing_steps,
)
from models.spec import ScheduleSpec

pytestmark = pytest.mark.unit

ZERO_SNR = ScheduleSpec(zero_terminal_snr=True)


def noise_levels(spec: ScheduleSpec, steps: int) -> list[tuple[float, float]]:
    table = make_schedule(spec)
    visited = trailing_steps(spec.train_steps, steps)
    return [(float(table.alpha[t]), float(table.sigma[t])) for t in visited] + [(1.0, 0.0)]


def random(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 2, 3, 4, 4, generator=generator, dtype=torch.float64)


def paper_step(
    z: Tensor, eps: Tensor, level: tuple[float, float], next_level: tuple[float, float]
) -> Tensor:
    """z_{t-1} = lambda_t z_t + tau_t eps_t with the paper's (diffusers') cumulative alphas."""
    alpha, next_alpha = level[0] ** 2, next_level[0] ** 2
    lam = math.sqrt(next_alpha / alpha)
    tau = math.sqrt(1 - next_alpha) - lam * math.sqrt(1 - alpha)
    return lam * z + tau * eps


@pytest.mark.parametrize("spec", [ScheduleSpec(zero_terminal_snr=False), ZERO_SNR])
@pytest.mark.parametrize("key", [1, 4])
def test_estimates_equal_the_papers_recursion(spec: ScheduleSpec, key: int) -> None:
    levels = noise_levels(spec, 10)
    z, v = random(0), random(1)
    x0, eps = predict_x0_eps(z, v, *levels[key])
    lights = range(key + 1, key + 5)

    expected, state = [], z
    for step in lights:  # z^_{t-i-1} = lambda_{t-i} z^_{t-i} + tau_{t-i} eps_t
        state = paper_step(state, eps, levels[step - 1], levels[step])
        expected.append(state)

    state = ddim(x0, eps, *levels[key + 1])
    got = estimate_inputs(state, x0, eps, [levels[step] for step in lights], flat=False)
    for ours, theirs in zip(got, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_estimates_from_pure_noise_are_finite_where_lambda_is_not() -> None:
    levels = noise_levels(ZERO_SNR, 10)
    assert levels[0] == (0.0, 1.0)
    x0, eps = predict_x0_eps(random(0), random(1), *levels[0])
    state = ddim(x0, eps, *levels[1])
    for guess in estimate_inputs(state, x0, eps, levels[1:5], flat=False):
        assert torch.isfinite(guess).all()


def test_before_the_threshold_every_light_step_takes_the_exact_state() -> None:
    levels = noise_levels(ZERO_SNR, 6)
    x0, eps = predict_x0_eps(random(0), random(1), *levels[0])
    exact = ddim(x0, eps, *levels[1])
    for guess in estimate_inputs(exact, x0, eps, levels[1:4], flat=True):
        assert torch.equal(guess, exact)


def test_the_first_input_is_no_guess_and_the_second_would_be_exact_with_the_same_noise() -> None:
    levels = noise_levels(ZERO_SNR, 6)
    x0, eps = predict_x0_eps(random(0), random(1), *levels[2])
    exact = ddim(x0, eps, *levels[3])
    first, second = estimate_inputs(exact, x0, eps, levels[3:5], flat=False)
    assert first is exact
    assert torch.equal(second, ddim(x0, eps, *levels[4]))


def test_integrate_is_the_papers_step_and_agrees_with_ddim() -> None:
    levels = noise_levels(ZERO_SNR, 8)
    z, v = random(2), random(3)
    for level, next_level in zip(levels[1:], levels[2:], strict=False):
        eps = predict_eps(z, v, *level)
        got = ddim_step(z, eps, level, next_level)
        assert torch.allclose(got, paper_step(z, eps, level, next_level), 1e-5, 1e-6)
        assert torch.allclose(got, ddim(*predict_x0_eps(z, v, *level), *next_level), 1e-5, 1e-6)
