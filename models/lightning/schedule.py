"""Noise schedules, and the trajectory of amplitudes and times that T sampling steps take on one.

z = a x + s e (``a`` signal, ``s`` noise). Networks predict either the velocity of diffusion
(``"v"``: a^2 + s^2 = 1, v = a e - s x) or that of flow matching (``"flow"``: a = 1 - s,
v = e - x). Both give clean latents and noise, so that one sampler serves both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from models.errors import PlanError
from models.spec import Prediction, ScheduleSpec

Amplitudes = tuple[float, float]
CLEAN: Amplitudes = (1.0, 0.0)


class Schedule(NamedTuple):
    """Signal and noise amplitudes by training step, float32 [train_steps]."""

    a: Tensor
    s: Tensor


@dataclass(frozen=True)
class Trajectory:
    """What T sampling steps visit.

    Published DDIM goes from step t to t - 1000 // T, which is one training step off the next entry
    of its list of times: what a step leaves (``after``) is then not quite what the next one takes
    it for (``at``). Where times are listed both agree.

    Attributes:
        times: what the network is told at each step, whole numbers or not.
        at: (a, s) that each step's state is taken to have.
        after: (a, s) of what each step leaves; the last one ends sampling.
        prediction: what the network predicts.
    """

    times: tuple[float, ...]
    at: tuple[Amplitudes, ...]
    after: tuple[Amplitudes, ...]
    prediction: Prediction = "v"

    def split(self, step: int, z: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Clean latents and noise from the state before ``step`` and the prediction there."""
        a, s = self.at[step]
        if self.prediction == "flow":
            return z - s * v, z + a * v
        return split(z, v, a, s)

    def advance(self, step: int, z: Tensor, v: Tensor) -> Tensor:
        """One real step from the state ``z`` with a prediction for that very state.

        Flow: z' = z + (s' - s) v (Euler); else DDIM.
        """
        if self.prediction == "flow":
            return z + (self.after[step][1] - self.at[step][1]) * v
        return ddim(*self.split(step, z, v), *self.after[step])


def make_schedule(spec: ScheduleSpec) -> Schedule:
    """Amplitudes of a linear beta schedule, optionally rescaled to zero terminal SNR."""
    betas = torch.linspace(spec.beta_start, spec.beta_end, spec.train_steps, dtype=torch.float64)
    a = torch.cumprod(1 - betas, 0).sqrt()
    if spec.zero_terminal_snr:
        a = (a - a[-1]) * a[0] / (a[0] - a[-1])
    return Schedule(a.float(), (1 - a * a).clamp(min=0).sqrt().float())


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
    times = trailing_steps(spec.train_steps, steps)
    at = [_amplitudes(table, t) for t in times]
    if spec.previous == "listed":
        after = [*at[1:], CLEAN]
    else:
        stride = spec.train_steps // steps
        after = [_amplitudes(table, t - stride) for t in times]
    return Trajectory(tuple(times), tuple(at), tuple(after))


def trailing_steps(train_steps: int, steps: int) -> list[int]:
    """Training steps visited by T trailing sampling steps: T - 1 spacings below the last one."""
    return [round(train_steps - i * train_steps / steps) - 1 for i in range(steps)]


def split(z: Tensor, v: Tensor, a: float, s: float) -> tuple[Tensor, Tensor]:
    """Clean latents x and noise e from state and v-prediction: x = a z - s v, e = a v + s z."""
    return a * z - s * v, a * v + s * z


def ddim(x: Tensor, e: Tensor, a_next: float, s_next: float) -> Tensor:
    """The deterministic step: z' = a' x + s' e (DDIM, arXiv 2010.02502, eq. 12 with sigma = 0)."""
    return a_next * x + s_next * e


def _amplitudes(table: Schedule, t: int) -> Amplitudes:
    """Of training step ``t``; below 0 there is no noise (published: ``set_alpha_to_one``)."""
    return (float(table.a[t]), float(table.s[t])) if t >= 0 else CLEAN


def _flow(spec: ScheduleSpec, steps: int) -> Trajectory:
    """Flow matching: times evenly from the last training step to the first, noise = time / steps.

    Published behaviour (diffusers' Euler scheduler of flow matching, all defaults): the last step
    goes from 1 / 1000 to 0.
    """
    last = spec.train_steps
    times = torch.linspace(last, 1, steps, dtype=torch.float64).tolist()
    noise = [t / last for t in times]
    at = [(1 - s, s) for s in noise]
    return Trajectory(tuple(times), tuple(at), (*at[1:], CLEAN), "flow")
