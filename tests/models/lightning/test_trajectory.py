"""Trajectories of published samplers against the schedulers they were published with."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from models.errors import PlanError
from models.lightning.schedule import CLEAN, make_schedule, make_trajectory
from models.sd15.config import DDIM_ZERO_SNR, FLOW_MATCHING
from models.spec import ScheduleSpec

pytestmark = pytest.mark.unit

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")


def reference_ddim() -> Any:
    """The scheduler with the arguments that Hallo and EchoMimic publish."""
    return diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="linear",
        clip_sample=False,
        steps_offset=1,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


def random(seed: int) -> Tensor:
    return torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("spec", "scheduler", "steps"),
    [
        *((DDIM_ZERO_SNR, "ddim", steps) for steps in (4, 6, 7, 10, 30, 40)),
        *((FLOW_MATCHING, "flow", steps) for steps in (3, 20)),
    ],
)
def test_times_and_every_step_are_those_of_the_published_scheduler(
    spec: ScheduleSpec, scheduler: str, steps: int
) -> None:
    flow = scheduler == "flow"
    theirs: Any = diffusers.FlowMatchEulerDiscreteScheduler() if flow else reference_ddim()
    theirs.set_timesteps(steps)
    ours = make_trajectory(spec, steps)
    assert ours.timesteps == pytest.approx(theirs.timesteps.tolist(), abs=1e-4)
    z = expected = random(0)
    for step, t in enumerate(theirs.timesteps):
        v = random(step + 1)
        z, expected = ours.step(step, z, v), theirs.step(v, t, expected).prev_sample
        assert float((z - expected).abs().max()) < 1e-5


@pytest.mark.parametrize("spec", [DDIM_ZERO_SNR, FLOW_MATCHING])
def test_more_steps_than_were_trained_are_refused(spec: ScheduleSpec) -> None:
    assert len(make_trajectory(spec, 1000).timesteps) == 1000
    with pytest.raises(PlanError, match="at most 1000"):
        make_trajectory(spec, 1001)


def test_alphas_are_the_published_ones() -> None:
    theirs = reference_ddim().alphas_cumprod
    alpha, sigma = make_schedule(DDIM_ZERO_SNR)
    assert torch.allclose(alpha**2, theirs, atol=2e-6) and torch.allclose(
        sigma**2, 1 - theirs, atol=2e-6
    )
    assert float(alpha[-1]) == 0.0


def test_spaced_steps_miss_the_listed_times_by_one_and_may_end_above_clean() -> None:
    trajectory = make_trajectory(DDIM_ZERO_SNR, 6)
    assert trajectory.timesteps == (999, 832, 666, 499, 332, 166)
    assert trajectory.next_levels[-1] == pytest.approx(
        (0.99915**0.5, (1 - 0.99915) ** 0.5), rel=1e-3
    )
    left, assumed = trajectory.next_levels[0], trajectory.levels[1]
    assert left != assumed and left == pytest.approx(assumed, abs=2e-3)
    assert make_trajectory(DDIM_ZERO_SNR, 30).next_levels[-1] == CLEAN


@pytest.mark.parametrize("spec", [ScheduleSpec(), ScheduleSpec(zero_terminal_snr=False)])
def test_listed_steps_lead_to_the_next_time_and_end_clean(spec: ScheduleSpec) -> None:
    trajectory = make_trajectory(spec, 5)
    assert trajectory.next_levels == (*trajectory.levels[1:], CLEAN)


@pytest.mark.parametrize("spec", [ScheduleSpec(), DDIM_ZERO_SNR, FLOW_MATCHING])
@pytest.mark.parametrize("step", [0, 2])
def test_what_split_gives_makes_up_the_state_again(spec: ScheduleSpec, step: int) -> None:
    trajectory = make_trajectory(spec, 5)
    z, v = random(1), random(2)
    x0, eps = trajectory.predict_x0_eps(step, z, v)
    alpha, sigma = trajectory.levels[step]
    assert torch.allclose(alpha * x0 + sigma * eps, z, atol=1e-5)
    expected = eps - x0 if spec.prediction == "flow" else alpha * eps - sigma * x0
    assert torch.allclose(v, expected, atol=1e-5)
    alpha, sigma = trajectory.next_levels[step]
    assert torch.allclose(trajectory.step(step, z, v), alpha * x0 + sigma * eps, atol=1e-5)
