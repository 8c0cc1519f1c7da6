"""Baselines of a step plan: full sampling of equal cost, and key steps placed by drift."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.evaluation.plans import TIMED_CHUNKS, SamplerInputs
from models.io.console import progress
from models.lightning.cache import FeatureCache
from models.lightning.denoiser import C, Denoiser
from models.lightning.plan import StepPlan, full_plan, placed_by_drift, same_cost
from models.lightning.sampler import Sampler

DRIFT_CHUNKS = 12
"""Chunks, spread over the whole recording, on which the drift of cached features is measured."""


@dataclass(frozen=True)
class Baselines:
    """The baselines of one plan that has light steps, and the times that chose them.

    Attributes:
        plan: the plan itself.
        equal_cost: full sampling that takes nearest to the same time.
        by_drift: as many key steps, placed where the cached features drift least.
        key_ms, light_ms: measured for one chunk.
    """

    plan: StepPlan
    equal_cost: StepPlan
    by_drift: StepPlan
    key_ms: float
    light_ms: float


def find_baselines(
    inputs: SamplerInputs, plans: Sequence[StepPlan], clock: Callable[[], float] = perf_counter
) -> list[Baselines]:
    """The baselines of those plans that have light steps; ``clock`` gives seconds."""
    drifts: dict[int, NDArray[np.float64]] = {}
    found = []
    for plan in plans:
        if not plan.light_steps:
            continue
        if plan.steps not in drifts:
            drifts[plan.steps] = feature_drift(inputs, plan.steps)
        key, light = step_times(inputs, plan, clock)
        placed = placed_by_drift(drifts[plan.steps], len(plan.keys))
        by_drift = replace(plan, keys=placed.keys)
        found.append(
            Baselines(plan, same_cost(plan, key, light), by_drift, 1000 * key, 1000 * light)
        )
    return found


@torch.inference_mode()
def step_times(
    inputs: SamplerInputs, plan: StepPlan, clock: Callable[[], float] = perf_counter
) -> tuple[float, float]:
    """Seconds of a key step and of a light step of ``plan``, medians over chunks.

    Parallel light steps are timed in a batch of the largest group and share its time. The two
    kinds take turns, so that other load on the machine slows both equally.
    """
    backbone, times = (
        inputs.pipeline.backbone,
        Sampler(inputs.pipeline.spec.schedule, plan).timesteps,
    )
    batch = max(map(len, plan.groups)) - 1 if plan.parallel else 1
    keys: list[float] = []
    lights: list[float] = []
    for condition, z, _ in inputs.chunks[: TIMED_CHUNKS + 1]:
        t = torch.full((z.shape[0],), times[plan.steps // 2], device=z.device)
        keep = plan.foreground and condition.face_tokens is not None
        began = clock()
        _, cached = backbone.full(z, t, condition, step=plan.steps // 2, keep=keep)
        keys.append(clock() - began)
        several = (cached.repeat(batch), torch.cat([z] * batch), t.repeat(batch))
        conditioning = condition.repeat(batch)
        began = clock()
        backbone.light(*several, conditioning, step=[plan.steps // 2] * batch)
        lights.append((clock() - began) / batch)
    return median(keys[1:] or keys), median(lights[1:] or lights)


@torch.inference_mode()
def feature_drift(inputs: SamplerInputs, steps: int) -> NDArray[np.float64]:
    """Drift of the cached features h in full sampling with T = ``steps``, mean over chunks, [T, T].

    Element (k, j) is |h_j - h_k| / |h_j|.
    """
    sampler = Sampler(inputs.pipeline.spec.schedule, full_plan(steps))
    spread = np.linspace(0, len(inputs.chunks) - 1, min(DRIFT_CHUNKS, len(inputs.chunks)))
    chosen = [inputs.chunks[k] for k in spread.round().astype(int)]
    total = np.zeros((steps, steps))
    for condition, start, _ in progress(chosen, f"drift over {steps} steps", len(chosen)):
        hidden = _features(inputs.pipeline.backbone, sampler, condition, start)
        total += [[_relative_change(before, after) for after in hidden] for before in hidden]
    return total / len(chosen)


def _features(backbone: Denoiser[C], sampler: Sampler, condition: C, start: Tensor) -> list[Tensor]:
    """Hidden states that the key steps of one chunk cache, in order."""
    hidden: list[Tensor] = []

    def remember(_: int, __: Tensor, cached: FeatureCache | None) -> None:
        if cached is not None:
            hidden.append(cached.hidden.float())

    sampler(backbone, start, condition, observe=remember)
    return hidden


def _relative_change(before: Tensor, after: Tensor) -> float:
    return float((after - before).norm() / after.norm().clamp(min=1e-12))
