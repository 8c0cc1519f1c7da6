"""The sampling loop: for each group of the plan a key step, then its light steps.

The plain sampler is the plan in which every step is a key step; there is no second loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.errors import PlanError
from models.lightning.cache import FeatureCache
from models.lightning.denoiser import Denoiser
from models.lightning.devices import DeviceReplica, predict_light_steps
from models.lightning.estimate import ddim_step, estimate_inputs, predict_eps
from models.lightning.plan import StepPlan
from models.lightning.schedule import Amplitudes, make_trajectory
from models.spec import ScheduleSpec

Observer = Callable[[int, Tensor, FeatureCache | None], None]


class Group(NamedTuple):
    """A key step that was run: what it predicted and cached, and the light steps that follow it."""

    key: int
    lights: list[int]
    x: Tensor
    e: Tensor
    cached: FeatureCache


class Sampler:
    """Runs one plan on one schedule; times and amplitudes of all steps are computed once.

    Args:
        schedule: which times and amplitudes, and what networks predict.
        plan: which steps are key steps.
        lanes: devices that share the light steps of a group; none runs them in one batch where the
            key steps run.

    Raises:
        PlanError: lanes with a plan whose light steps wait for each other.
    """

    def __init__(
        self, schedule: ScheduleSpec, plan: StepPlan, *, lanes: Sequence[DeviceReplica] = ()
    ) -> None:
        if lanes and not plan.parallel:
            raise PlanError(
                f"several devices need light steps that are predicted at once, got the plan {plan};"
                " add +parallel to it",
                code="bad_plan",
            )
        self.plan, self.lanes = plan, tuple(lanes)
        self.path = make_trajectory(schedule, plan.steps)

    @property
    def times(self) -> tuple[float, ...]:
        """What the network is told at each step."""
        return self.path.times

    @property
    def amplitudes(self) -> list[Amplitudes]:
        """(a, s) that each step's state is taken to have, then of what the last one leaves."""
        return [*self.path.at, self.path.after[-1]]

    @torch.inference_mode()
    def __call__(
        self,
        backbone: Denoiser,
        z: Tensor,
        cond: Any,
        *,
        observe: Observer | None = None,
    ) -> Tensor:
        """Denoise start noise z [B, C, F, H, W] to clean latents of the same shape.

        ``observe(step, z, cache)`` is called before each real step with the scheduler's state, and
        with the cache that the step leaves if it is a key step.
        """
        keep = self.plan.foreground and cond.foreground is not None
        for key, *lights in self.plan.groups:
            v, cached = backbone.full(z, self._time(key, z), cond, keep=keep)
            if observe:
                observe(key, z, cached)
            x, e = self.path.split(key, z, v)
            z = self.path.advance(key, z, v)
            if lights and self.plan.parallel:
                group = Group(key, lights, x, e, cached)
                z = self._parallel(backbone, z, group, cond, observe)
                continue
            for step in lights:
                v = backbone.tail(cached, z, self._time(step, z), cond)
                if observe:
                    observe(step, z, None)
                z = self.path.advance(step, z, v)
        return z

    def _parallel(
        self, backbone: Denoiser, z: Tensor, group: Group, cond: Any, observe: Observer | None
    ) -> Tensor:
        """All light steps of a group at once, then the real steps with what they predict."""
        key, lights, x, e, cached = group
        reached = [self.path.after[step - 1] for step in lights]
        inputs = estimate_inputs(z, x, e, reached, flat=key < self.plan.estimate_from)
        times = [self._time(step, z) for step in lights]
        n = len(lights)
        if self.lanes:
            predictions: Sequence[Tensor] = predict_light_steps(
                self.lanes, cached, inputs, times, cond
            )
        else:
            told = cond.repeat(n)
            v = backbone.tail(cached.repeat(n), torch.cat(inputs), torch.cat(times), told)
            predictions = v.chunk(n)
        for step, guess, v in zip(lights, inputs, predictions, strict=True):
            if observe:
                observe(step, z, None)
            z = self._real(step, z, guess, v, exact=step == lights[0])
        return z

    def _real(self, step: int, z: Tensor, guess: Tensor, v: Tensor, *, exact: bool) -> Tensor:
        """One real step with a prediction made for ``guess``, which was ``z`` itself if exact.

        Of diffusion the predicted noise is used; of flow matching the predicted velocity.
        """
        if exact or self.path.prediction == "flow":
            return self.path.advance(step, z, v)
        now = self.path.at[step]
        return ddim_step(z, predict_eps(guess, v, *now), now, self.path.after[step])

    def _time(self, step: int, z: Tensor) -> Tensor:
        return torch.full((z.shape[0],), self.times[step], device=z.device)
