"""Noise schedules, and the noise levels and timesteps that T sampling steps take on one.

z = alpha x0 + sigma eps. Networks predict either the velocity of diffusion (``"v"``:
alpha^2 + sigma^2 = 1, v = alpha eps - sigma x0) or that of flow matching (``"flow"``:
alpha = 1 - sigma, v = eps - x0). Both give x0 and eps, so that one sampler serves both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from models.errors import PlanError
from models.spec import Prediction, ScheduleSpec

NoiseLevel = tuple[float, float]
"""(alpha, sigma)"""
CLEAN: NoiseLevel = (1.0, 0.0)


class Schedule(NamedTuple):
    """Noise levels by training step, float32 [train_steps] each."""

    alpha: Tensor
    sigma: Tensor


@dataclass(frozen=True)
class Trajectory:
    """What T sampling steps visit.

    Published DDIM goes from training step t to t - 1000 // T, which is one off the next entry of
    its list of timesteps: the level that a step leaves (``next_levels``) is then not quite the one
    that the next step assumes (``levels``). With listed timesteps both agree.

    Attributes:
        timesteps: what the network embeds at each step, whole numbers or not.
        levels: (alpha, sigma) that each step's state is taken to have.
        next_levels: (alpha, sigma) of what each step leaves; the last one ends sampling.
        prediction: what the network predicts.
    """

    timesteps: tuple[float, ...]
    levels: tuple[NoiseLevel, ...]
    next_levels: tuple[NoiseLevel, ...]
    prediction: Prediction = "v"

    def predict_x0_eps(self, step: int, z: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """x0 and eps from the state before ``step`` and the prediction there."""
        alpha, sigma = self.levels[step]
        if self.prediction == "flow":
            return z - sigma * v, z + alpha * v
        return predict_x0_eps(z, v, alpha, sigma)

    def step(self, step: int, z: Tensor, v: Tensor) -> Tensor:
        """The state after ``step``, from the state ``z`` and the prediction for that very state.

        Flow: z' = z + (sigma' - sigma) v (Euler); else DDIM.
        """
        if self.prediction == "flow":
            return z + (self.next_levels[step][1] - self.levels[step][1]) * v
        return ddim(*self.predict_x0_eps(step, z, v), *self.next_levels[step])


def make_schedule(spec: ScheduleSpec) -> Schedule:
    """Noise levels of a linear beta schedule, optionally rescaled to zero terminal SNR."""
    betas = torch.linspace(spec.beta_start, spec.beta_end, spec.train_steps, dtype=torch.float64)
    alpha = torch.cumprod(1 - betas, 0).sqrt()
    if spec.zero_terminal_snr:
        alpha = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
    return Schedule(alpha.float(), (1 - alpha * alpha).clamp(min=0).sqrt().float())


def make_trajectory(spec: ScheduleSpec, steps: int) -> Trajectory:
    """The T steps that ``spec`` describes.

    Raises:
        PlanError: there are more than the network was trained on.
    """
    if steps > spec.train_steps:
        raise PlanError(
            f"expected at most {spec.train_steps} steps, got {steps}; the network knows no others",
            code="bad_plan",
        )
    if spec.prediction == "flow":
        return _flow(spec, steps)
    table = make_schedule(spec)
    timesteps = trailing_steps(spec.train_steps, steps)
    levels = [_level(table, t) for t in timesteps]
    if spec.previous == "listed":
        next_levels = [*levels[1:], CLEAN]
    else:
        stride = spec.train_steps // steps
        next_levels = [_level(table, t - stride) for t in timesteps]
    return Trajectory(tuple(timesteps), tuple(levels), tuple(next_levels))


def trailing_steps(train_steps: int, steps: int) -> list[int]:
    """Training steps visited by T trailing sampling steps: T - 1 spacings below the last one."""
    return [round(train_steps - i * train_steps / steps) - 1 for i in range(steps)]


def predict_x0_eps(z: Tensor, v: Tensor, alpha: float, sigma: float) -> tuple[Tensor, Tensor]:
    """From state and v-prediction: x0 = alpha z - sigma v, eps = alpha v + sigma z."""
    return alpha * z - sigma * v, predict_eps(z, v, alpha, sigma)


def predict_eps(z: Tensor, v: Tensor, alpha: float, sigma: float) -> Tensor:
    """From the network's own input and its v-prediction: eps = alpha v + sigma z."""
    return alpha * v + sigma * z


def ddim(x0: Tensor, eps: Tensor, alpha: float, sigma: float) -> Tensor:
    """The state at a noise level: z = alpha x0 + sigma eps.

    At the next level it is the deterministic step (DDIM, arXiv 2010.02502, eq. 12 with its own
    sigma = 0).
    """
    return alpha * x0 + sigma * eps


def ddim_step(z: Tensor, eps: Tensor, level: NoiseLevel, next_level: NoiseLevel) -> Tensor:
    """One real step with a predicted noise: z' = lambda z + tau eps.

    lambda = alpha' / alpha, tau = sigma' - sigma alpha' / alpha (DDIM's two-coefficient form).
    """
    (alpha, sigma), (next_alpha, next_sigma) = level, next_level
    return (next_alpha / alpha) * z + (next_sigma - sigma * next_alpha / alpha) * eps


def estimate_inputs(
    z: Tensor, x0: Tensor, eps: Tensor, levels: Sequence[NoiseLevel], *, flat: bool
) -> list[Tensor]:
    """Input latents estimation: inputs for the light steps of a group, in order.

    arXiv 2509.00052, section on input latents estimation. After key step t the state z_{t-1} is
    exact; the inputs of the later light steps are not known yet and are extrapolated with the key
    step's noise: z^_{t-i-1} = lambda_{t-i} z^_{t-i} + tau_{t-i} eps_t. With a constant eps_t every
    factor moves along the same x0_t, so that in terms of noise levels (and also where alpha = 0, as
    at zero terminal SNR, where lambda is infinite) z^_j = alpha_j x0_t + sigma_j eps_t.

    Estimates feed the network only. The real trajectory is integrated afterwards, step by step,
    with the predicted noises: the scheduler's state never contains an estimate.

    Args:
        z: the exact state that the key step left, [B, C, F, H, W]; the first light step's input.
        x0, eps: what the key step predicted, like ``z``.
        levels: (alpha, sigma) that the state before each light step has.
        flat: before the threshold predictions are not steady enough to extrapolate: all light
            steps take the exact state.
    """
    if flat:
        return [z] * len(levels)
    return [z, *(ddim(x0, eps, *level) for level in levels[1:])]


def _level(table: Schedule, t: int) -> NoiseLevel:
    """Of training step ``t``; below 0 there is no noise (published: ``set_alpha_to_one``)."""
    return (float(table.alpha[t]), float(table.sigma[t])) if t >= 0 else CLEAN


def _flow(spec: ScheduleSpec, steps: int) -> Trajectory:
    """Flow matching: timesteps evenly from the last training step to the first, sigma = t / steps.

    Published behaviour (diffusers' Euler scheduler of flow matching, all defaults): the last step
    goes from 1 / 1000 to 0.
    """
    last = spec.train_steps
    timesteps = torch.linspace(last, 1, steps, dtype=torch.float64).tolist()
    sigmas = [t / last for t in timesteps]
    levels = [(1 - sigma, sigma) for sigma in sigmas]
    return Trajectory(tuple(timesteps), tuple(levels), (*levels[1:], CLEAN), "flow")
