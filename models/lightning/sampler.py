"""The sampling loop: for each group of the plan a key step, then its light steps.

Full sampling is the plan in which every step is a key step; there is no second loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from models.errors import PlanError
from models.lightning.cache import FeatureCache
from models.lightning.denoiser import C, Denoiser
from models.lightning.devices import DeviceReplica, predict_light_steps
from models.lightning.plan import StepPlan
from models.lightning.schedule import (
    NoiseLevel,
    ddim_step,
    estimate_inputs,
    make_trajectory,
    predict_eps,
)
from models.spec import ScheduleSpec

Observer = Callable[[int, Tensor, FeatureCache | None], None]


class Group(NamedTuple):
    """A key step that was run: what it predicted and cached, and the light steps after it."""

    key: int
    lights: list[int]
    x0: Tensor
    eps: Tensor
    cache: FeatureCache


class Sampler:
    """Runs one plan on one schedule; timesteps and noise levels are computed once.

    Args:
        schedule: which timesteps and levels, and what networks predict.
        plan: which steps are key steps.
        replicas: devices that share the light steps of a group; with none they run in one batch on
            the device of the key steps.

    Attributes:
        on_call: called before each call of the network; what it raises ends the sampling.

    Raises:
        PlanError: replicas with a plan whose light steps wait for each other.
    """

    def __init__(
        self, schedule: ScheduleSpec, plan: StepPlan, *, replicas: Sequence[DeviceReplica] = ()
    ) -> None:
        if replicas and not plan.parallel:
            raise PlanError(
                f"several devices need light steps that are predicted at once, got the plan {plan};"
                " add +parallel to it",
                code="bad_plan",
            )
        self.plan, self.replicas = plan, tuple(replicas)
        self.on_call: Callable[[], object] = lambda: None
        self.trajectory = make_trajectory(schedule, plan.steps)

    @property
    def timesteps(self) -> tuple[float, ...]:
        """What the network embeds at each step."""
        return self.trajectory.timesteps

    @property
    def levels(self) -> list[NoiseLevel]:
        """(alpha, sigma) that each step's state is taken to have, then of what the last leaves."""
        return [*self.trajectory.levels, self.trajectory.next_levels[-1]]

    @torch.inference_mode()
    def __call__(
        self,
        denoiser: Denoiser[C],
        z: Tensor,
        cond: C,
        *,
        observe: Observer | None = None,
    ) -> Tensor:
        """Denoise start noise z [B, C, F, H, W] to clean latents of the same shape.

        ``observe(step, z, cache)`` is called before each real step with the scheduler's state, and
        with the cache that the step leaves if it is a key step.
        """
        keep = self.plan.foreground and cond.face_tokens is not None
        for key, *lights in self.plan.groups:
            self.on_call()
            v, cache = denoiser.full(z, self._t(key, z), cond, step=key, keep=keep)
            if observe:
                observe(key, z, cache)
            x0, eps = self.trajectory.predict_x0_eps(key, z, v)
            z = self.trajectory.step(key, z, v)
            if lights and self.plan.parallel:
                group = Group(key, lights, x0, eps, cache)
                z = self._parallel(denoiser, z, group, cond, observe)
                continue
            for step in lights:
                self.on_call()
                v = denoiser.light(cache, z, self._t(step, z), cond, step=step)
                if observe:
                    observe(step, z, None)
                z = self.trajectory.step(step, z, v)
        return z

    def _parallel(
        self, denoiser: Denoiser[C], z: Tensor, group: Group, cond: C, observe: Observer | None
    ) -> Tensor:
        """All light steps of a group at once, then the real steps with what they predict."""
        key, lights, x0, eps, cache = group
        levels = [self.trajectory.next_levels[step - 1] for step in lights]
        inputs = estimate_inputs(z, x0, eps, levels, flat=key < self.plan.estimate_from)
        times = [self._t(step, z) for step in lights]
        n = len(lights)
        self.on_call()
        if self.replicas:
            predictions: Sequence[Tensor] = predict_light_steps(
                self.replicas, cache, inputs, times, cond, lights
            )
        else:
            z_all, t_all = torch.cat(inputs), torch.cat(times)
            v = denoiser.light(cache.repeat(n), z_all, t_all, cond.repeat(n), step=lights)
            predictions = v.chunk(n)
        for step, estimate, v in zip(lights, inputs, predictions, strict=True):
            if observe:
                observe(step, z, None)
            z = self._step(step, z, estimate, v, exact=step == lights[0])
        return z

    def _step(self, step: int, z: Tensor, estimate: Tensor, v: Tensor, *, exact: bool) -> Tensor:
        """One real step with a prediction made for ``estimate``, which was ``z`` itself if exact.

        Of diffusion the predicted noise is used; of flow matching the predicted velocity.
        """
        trajectory = self.trajectory
        if exact or trajectory.prediction == "flow":
            return trajectory.step(step, z, v)
        level = trajectory.levels[step]
        eps = predict_eps(estimate, v, *level)
        return ddim_step(z, eps, level, trajectory.next_levels[step])

    def _t(self, step: int, z: Tensor) -> Tensor:
        return torch.full((z.shape[0],), self.timesteps[step], device=z.device)
