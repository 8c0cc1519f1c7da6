"""The noise schedule and the DDIM step against the equations they come from."""

from __future__ import annotations

import math

import pytest
import torch

from models.lightning.schedule import ddim, make_schedule, predict_x0_eps, trailing_steps
from models.spec import ScheduleSpec

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("zero", [True, False])
def test_amplitudes_lie_on_the_unit_circle_and_signal_falls(zero: bool) -> None:
    alpha, sigma = make_schedule(ScheduleSpec(zero_terminal_snr=zero))
    assert torch.allclose(alpha**2 + sigma**2, torch.ones_like(alpha), atol=1e-6)
    assert (alpha.diff() < 0).all() and (sigma.diff() > 0).all()


def test_the_plain_schedule_is_the_product_of_the_linear_betas() -> None:
    spec = ScheduleSpec(zero_terminal_snr=False)
    alpha, _ = make_schedule(spec)
    product = 1.0
    for t in range(spec.train_steps):
        beta = spec.beta_start + (spec.beta_end - spec.beta_start) * t / (spec.train_steps - 1)
        product *= 1 - beta
        if t in (0, 1, 499, 999):
            assert float(alpha[t]) == pytest.approx(math.sqrt(product), rel=1e-5)


def test_zero_terminal_snr_ends_in_pure_noise_and_keeps_the_first_step() -> None:
    alpha, sigma = make_schedule(ScheduleSpec(zero_terminal_snr=True))
    plain, _ = make_schedule(ScheduleSpec(zero_terminal_snr=False))
    assert float(alpha[-1]) == 0.0 and float(sigma[-1]) == 1.0
    assert float(alpha[0]) == pytest.approx(float(plain[0]))


@pytest.mark.parametrize(("steps", "expected"), [(4, [999, 749, 499, 249]), (1, [999])])
def test_trailing_steps_begin_at_the_last_training_step(steps: int, expected: list[int]) -> None:
    assert trailing_steps(1000, steps) == expected


def test_trailing_steps_are_distinct_and_never_negative() -> None:
    for steps in (3, 7, 10, 30, 1000):
        times = trailing_steps(1000, steps)
        assert len(set(times)) == steps and min(times) >= 0 and times[0] == 999


def test_split_inverts_the_forward_process() -> None:
    generator = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(2, 3, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    alpha, sigma = 0.6, 0.8
    z, v = alpha * x0 + sigma * eps, alpha * eps - sigma * x0
    got_x0, got_eps = predict_x0_eps(z, v, alpha, sigma)
    assert torch.allclose(got_x0, x0) and torch.allclose(got_eps, eps)


def test_a_ddim_step_with_perfect_prediction_stays_on_the_forward_process() -> None:
    generator = torch.Generator().manual_seed(1)
    x0, eps = (torch.randn(2, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    z, v = 0.6 * x0 + 0.8 * eps, 0.6 * eps - 0.8 * x0
    after = ddim(*predict_x0_eps(z, v, 0.6, 0.8), 0.8, 0.6)
    assert torch.allclose(after, 0.8 * x0 + 0.6 * eps)
