"""Baselines of a plan: equal cost by measured times, keys placed by a known drift."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.evaluation.baselines import feature_drift, find_baselines, step_times
from models.evaluation.plans import SamplerInputs
from models.lightning.cache import FeatureCache
from models.lightning.plan import StepPlan, full_plan, parse
from models.mini.config import MINI
from models.mini.pipeline import ChunkLook

pytestmark = pytest.mark.unit

KEY, LIGHT = 5.0, 1.0  # seconds of the clock below
LEVELS = (1.0, 1.1, 1.2, 4.0, 4.1, 4.2)  # of the cached feature at each step: one jump, at step 3


class Clock:
    """Time that advances in networks alone."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Condition:
    """Nothing but a batch size."""

    identity_ids = ("somebody",)
    foreground = None

    def __init__(self, batch: int = 1) -> None:
        self.batch = batch

    def repeat(self, n: int) -> Condition:
        """A batch n times as large."""
        return Condition(n * self.batch)


class Backbone:
    """Takes known times; its cached feature has a known level at each step."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.calls = 0
        self.levels: tuple[float, ...] = LEVELS
        self.batches: list[int] = []

    def full(
        self, z: Tensor, t: Tensor, cond: Any, *, step: int, keep: bool = False
    ) -> tuple[Tensor, FeatureCache]:
        """A key step; predicts nothing."""
        self.clock.now += KEY
        level = self.levels[self.calls % len(self.levels)]
        self.calls += 1
        hidden = torch.full((z.shape[2], 1, *z.shape[3:]), level)
        return torch.zeros_like(z), FeatureCache(hidden, None, cond.identity_ids)

    def light(
        self, cache: FeatureCache, z: Tensor, t: Tensor, cond: Condition, *, step: Any
    ) -> Tensor:
        """A light step, of each row of the batch one after another."""
        assert cond.batch == z.shape[0] == t.shape[0] == len(step)
        self.batches.append(z.shape[0])
        self.clock.now += LIGHT * z.shape[0]
        return torch.zeros_like(z)


@pytest.fixture
def backbone() -> Backbone:
    return Backbone(Clock())


@pytest.fixture
def inputs(backbone: Backbone) -> SamplerInputs:
    """Three chunks."""
    pipeline: Any = SimpleNamespace(spec=SimpleNamespace(schedule=MINI.schedule), backbone=backbone)
    look = ChunkLook(*(np.zeros((4, n), np.float32) for n in (13, 4, 5)))
    chunk = (Condition(), torch.zeros(1, 2, 4, 3, 3), look)
    return SamplerInputs(pipeline, [chunk] * 3, lambda: None)


@pytest.mark.parametrize(("plan", "batch"), [("6:0,4", 1), ("6:0,4+parallel", 3)])
def test_steps_are_timed(inputs: SamplerInputs, backbone: Backbone, plan: str, batch: int) -> None:
    assert step_times(inputs, parse(plan), backbone.clock) == (KEY, LIGHT)
    assert set(backbone.batches) == {batch}


def test_drift_is_relative_and_zero_at_its_own_step(inputs: SamplerInputs) -> None:
    drift = feature_drift(inputs, 6)
    assert drift.shape == (6, 6)
    assert not drift.diagonal().any()
    assert drift[0] == pytest.approx([abs(level - 1) / level for level in LEVELS])


def test_baselines_cost_the_same_and_avoid_the_jump(
    inputs: SamplerInputs, backbone: Backbone
) -> None:
    asked = parse("6:0,5+parallel+from2")
    found = find_baselines(inputs, [full_plan(4), asked], backbone.clock)
    assert [one.plan for one in found] == [asked]  # full sampling is its own baseline
    assert found[0].equal_cost == full_plan(3)  # 2 keys and 4 light steps: 14 / 5 = 2.8 full steps
    assert found[0].by_drift == StepPlan(6, (0, 3), parallel=True, estimate_from=2)
    assert (found[0].key_ms, found[0].light_ms) == (1000 * KEY, 1000 * LIGHT)


def test_drift_is_the_mean_over_chunks(inputs: SamplerInputs, backbone: Backbone) -> None:
    backbone.levels = (*LEVELS, *[1.0] * 12)  # two of three chunks do not drift at all
    moved = np.array([abs(level - 1) / level for level in LEVELS])
    assert feature_drift(inputs, 6)[0] == pytest.approx(moved / 3)
