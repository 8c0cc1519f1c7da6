"""The model bench: fair turns, honest sums, and a record that says what it measured."""

from __future__ import annotations

import pytest

from models.bench.model import Spread, measure, variants
from models.bench.target import load_target
from models.errors import LiveheadError
from models.lightning.plan import parse

pytestmark = pytest.mark.unit


class Clock:
    """Seconds that pass only when somebody works."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float) -> None:
        self.now += seconds


def test_parts_take_turns_and_the_warm_up_is_not_counted() -> None:
    clock, order = Clock(), list[str]()

    def part(name: str, seconds: float) -> None:
        order.append(name)
        clock.work(9.0 if len(order) <= 4 else seconds)

    parts = {"a": lambda: part("a", 0.001), "b": lambda: part("b", 0.002)}
    spent = measure(parts, range(3), clock)
    assert order == ["a", "b"] * 5
    assert spent["a"].median == pytest.approx(1.0) and spent["b"].median == pytest.approx(2.0)


def test_quartiles_surround_the_median() -> None:
    clock, lengths = Clock(), iter([9, 9, 1, 2, 3, 4, 5])
    spent = measure({"a": lambda: clock.work(next(lengths))}, range(5), clock)
    assert spent["a"] == Spread(2000, 3000, 4000)
    assert spent["a"].divided(4) == Spread(500, 750, 1000)


def test_one_round_is_enough_for_a_figure() -> None:
    clock = Clock()
    assert measure({"a": lambda: clock.work(1.0)}, range(1), clock)["a"].median == 1000


def test_three_plans_are_compared() -> None:
    assert {name: str(plan) for name, plan in variants(parse("8:0,4+dfa")).items()} == {
        "plain": "8:0,1,2,3,4,5,6,7",
        "lightning": "8:0,4",
        "lightning_dfa": "8:0,4+dfa",
    }


@pytest.mark.parametrize("weights", ["random:", "random:x"])
def test_a_seed_must_be_a_number(weights: str) -> None:
    with pytest.raises(LiveheadError) as caught:
        load_target(weights, None, 1)
    assert caught.value.code == "bad_option"
