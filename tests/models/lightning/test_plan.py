"""Step plans: groups, what is written and read, and where drift puts the keys."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import PlanError
from models.lightning.plan import (
    StepPlan,
    describe,
    full_plan,
    parse,
    placed_by_drift,
    placed_to_the_end,
    same_cost,
    uniform,
)
from models.registry import find_card, measured_models

pytestmark = pytest.mark.unit


def test_groups_cover_every_step_once_and_begin_with_their_key() -> None:
    plan = parse("10:0,4,8")
    assert plan.groups == ((0, 1, 2, 3), (4, 5, 6, 7), (8, 9))
    assert plan.light_steps == 7


def test_a_plain_plan_has_no_light_steps() -> None:
    assert full_plan(4).groups == ((0,), (1,), (2,), (3,))
    assert full_plan(4).light_steps == 0


@pytest.mark.parametrize(
    "text",
    [
        "10:0,4,8",
        "10:0,4,8+dfa",
        "10:0,4,8+parallel",
        "10:0,4,8+parallel+dfa",
        "10:0,4,8+parallel+dfa+from4",
        "1:0",
    ],
)
def test_what_a_plan_writes_it_reads_again(text: str) -> None:
    plan = parse(text)
    assert str(plan) == text
    assert parse(str(plan)) == plan
    assert StepPlan.from_json(plan.to_json()) == plan


def test_steps_alone_mean_the_plain_sampler() -> None:
    assert parse("6") == full_plan(6)
    assert parse("6+dfa").foreground


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ten",
        "10:",
        "10:0,,4",
        "10:1,4",
        "10:0,4,4",
        "10:4,0",
        "10:0,10",
        "0",
        "10:0,4+fast",
        "10:0;4",
        "10:0,4+from",
        "-3",
        "10:0,-4",
        "1001",
        "99999999999",
    ],
)
def test_what_is_not_a_plan_is_refused(text: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse(text)
    assert caught.value.code == "bad_plan"


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"steps": 10},
        {"steps": 10, "keys": [0], "speed": 3},
        {"steps": "10", "keys": [0]},
        {"steps": 10, "keys": "04"},
        {"steps": 10, "keys": [3]},
    ],
)
def test_a_foreign_record_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(PlanError):
        StepPlan.from_json(record)


def test_uniform_spreads_keys_evenly_from_the_first_step() -> None:
    assert uniform(10, 3).keys == (0, 3, 6)
    assert uniform(40, 10).keys == tuple(range(0, 40, 4))
    assert uniform(6, 6) == full_plan(6)
    assert uniform(5, 1).keys == (0,)


@pytest.mark.parametrize("keys", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_drift_placement_is_as_good_as_trying_every_plan(keys: int, seed: int) -> None:
    steps = 7
    drift = np.random.default_rng(seed).random((steps, steps))
    np.fill_diagonal(drift, 0.0)

    def total(plan: StepPlan) -> float:
        return sum(float(drift[key, light]) for key, *lights in plan.groups for light in lights)

    rivals = [StepPlan(steps, (0, *rest)) for rest in combinations(range(1, steps), keys - 1)]
    chosen = placed_by_drift(drift, keys)
    assert len(chosen.keys) == keys
    assert total(chosen) == pytest.approx(min(map(total, rivals)))


def test_drift_placement_ignores_what_a_key_costs_itself() -> None:
    drift = np.full((5, 5), 1.0)
    np.fill_diagonal(drift, [9.0, 0.0, 5.0, 2.0, 1.0])
    drift[0, 1:3] = 0.1
    drift[3, 4] = 0.1
    assert placed_by_drift(drift, 2).keys == (0, 3)


@pytest.mark.parametrize(("shape", "keys"), [((3, 4), 2), ((3, 3), 4), ((3, 3), 0)])
def test_drift_placement_refuses_what_it_cannot_place(shape: tuple[int, int], keys: int) -> None:
    with pytest.raises(PlanError):
        placed_by_drift(np.zeros(shape), keys)


def test_cost_counts_key_and_light_steps_and_finds_the_fair_control() -> None:
    plan = parse("10:0,4,8")
    assert plan.cost(full=5.0, light=1.0) == 3 * 5.0 + 7 * 1.0
    assert same_cost(plan, full=5.0, light=1.0) == full_plan(4)  # 22 / 5 = 4.4 full steps
    assert same_cost(plan, full=1000.0, light=0.0) == full_plan(3)
    assert describe([plan], 5.0, 1.0) == [["10:0,4,8", 3, 7, pytest.approx(4.4)]]


# Figure 1 of arXiv 2509.00052, read by eye: how far what Hallo caches moves from one of 40 steps to
# the next, by step.
FIGURE = ((0, 0.07), (5, 0.02), (12, 0.005), (30, 0.005), (36, 0.015), (39, 0.05))
IMPLIED = {"hallo": (40, 10), "echomimic": (30, 7), "echomimic-acc": (6, 4), "memo": (20, 8)}


def figure(steps: int) -> NDArray[np.float64]:
    """The drift matrix that the figure means for so many steps: distances along the way."""
    at, moved = np.array(FIGURE).T
    fine = np.linspace(0, 39, 3901)
    way = np.concatenate([[0.0], np.cumsum(np.interp(fine[1:] - 0.005, at, moved) * 0.01)])
    here = np.interp(np.linspace(0, 39, steps), fine, way)
    distances: NDArray[np.float64] = np.abs(here[None] - here[:, None])
    return distances


@pytest.mark.parametrize("name", measured_models())
def test_plans_of_published_models_are_those_that_their_reasons_give(name: str) -> None:
    card = find_card(name)
    plan = parse(card.plan)
    steps, keys = IMPLIED[name]
    assert card.spec is not None
    assert plan.steps == steps == card.spec.steps
    assert plan.keys == placed_to_the_end(figure(steps), keys).keys
    assert plan.keys[0] == 0 and plan.keys[-1] == steps - 1 and len(plan.keys) == keys
    assert plan.foreground and not plan.parallel


def test_light_steps_at_once_keep_the_keys_and_wait_for_a_quarter_of_the_way() -> None:
    plan = parse(find_card("hallo").plan)
    spread = plan.at_once()
    assert spread.parallel and spread.estimate_from == 10 and spread.keys == plan.keys


def test_a_key_at_the_end_costs_as_little_drift_as_it_can() -> None:
    drift = figure(8)
    plan = placed_to_the_end(drift, 4)
    assert plan.keys[-1] == 7

    def total(keys: tuple[int, ...]) -> float:
        return sum(float(drift[g[0], g[1:]].sum()) for g in StepPlan(8, keys).groups)

    others = [(0, *middle, 7) for middle in combinations(range(1, 7), 2)]
    assert total(plan.keys) == min(map(total, others))
