"""The sampling loop: for each group of the plan a key step, then its light steps.

Plain DDIM is the plan in which every step is a key step; there is no second loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.backbones.protocol import Backbone
from models.lightning.cache import Cached
from models.lightning.estimate import estimate_inputs, integrate, noise_of
from models.lightning.plan import StepPlan
from models.lightning.schedule import Schedule, ddim, make_schedule, split, trailing_steps
from models.spec import ScheduleSpec

Amplitudes = tuple[float, float]
Observer = Callable[[int, Tensor, Cached | None], None]


class Group(NamedTuple):
    """A key step that was run: what it predicted and cached, and the light steps that follow it."""

    key: int
    lights: list[int]
    x: Tensor
    e: Tensor
    cached: Cached


class Sampler:
    """Runs one plan on one schedule; amplitudes of all steps are computed once."""

    def __init__(self, schedule: ScheduleSpec, plan: StepPlan) -> None:
        self.plan = plan
        self.times = trailing_steps(schedule.train_steps, plan.steps)
        table: Schedule = make_schedule(schedule)
        self.amplitudes: list[Amplitudes] = [
            (float(table.a[t]), float(table.s[t])) for t in self.times
        ]
        self.amplitudes.append((1.0, 0.0))  # after the last step: clean latents

    @torch.inference_mode()
    def __call__(
        self,
        backbone: Backbone,
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
            a, s = self.amplitudes[key]
            v, cached = backbone.full(z, self._time(key, z), cond, keep=keep)
            if observe:
                observe(key, z, cached)
            x, e = split(z, v, a, s)
            z = ddim(x, e, *self.amplitudes[key + 1])
            if lights and self.plan.parallel:
                group = Group(key, lights, x, e, cached)
                z = self._parallel(backbone, z, group, cond, observe)
                continue
            for step in lights:
                v = backbone.tail(cached, z, self._time(step, z), cond)
                if observe:
                    observe(step, z, None)
                z = self._advance(step, z, v)
        return z

    def _parallel(
        self, backbone: Backbone, z: Tensor, group: Group, cond: Any, observe: Observer | None
    ) -> Tensor:
        """All light steps of a group in one batch, then the real steps with their noises."""
        key, lights, x, e, cached = group
        flat = key < self.plan.estimate_from
        inputs = estimate_inputs(x, e, [self.amplitudes[step] for step in lights], flat=flat)
        n = len(lights)
        times = torch.cat([self._time(step, z) for step in lights])
        v = backbone.tail(cached.repeat(n), torch.cat(inputs), times, cond.repeat(n))
        for step, guess, predicted in zip(lights, inputs, v.chunk(n), strict=True):
            if observe:
                observe(step, z, None)
            if step == lights[0]:  # its input was no guess
                z = self._advance(step, z, predicted)
                continue
            noise = noise_of(guess, predicted, *self.amplitudes[step])
            z = integrate(z, noise, self.amplitudes[step], self.amplitudes[step + 1])
        return z

    def _advance(self, step: int, z: Tensor, v: Tensor) -> Tensor:
        """One real step with the prediction for the real state."""
        x, e = split(z, v, *self.amplitudes[step])
        return ddim(x, e, *self.amplitudes[step + 1])

    def _time(self, step: int, z: Tensor) -> Tensor:
        return torch.full((z.shape[0],), self.times[step], device=z.device)
