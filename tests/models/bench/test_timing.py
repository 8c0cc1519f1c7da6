"""Calls that are timed in turns: order, warm-up, quartiles."""

from __future__ import annotations

import pytest

from models.bench.timing import Spread, time_in_turns

pytestmark = pytest.mark.unit


class Clock:
    """Seconds that advance only by ``work``."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float) -> None:
        self.now += seconds


def test_calls_take_turns_and_the_warm_up_is_not_counted() -> None:
    clock, order = Clock(), list[str]()

    def call(name: str, seconds: float) -> None:
        order.append(name)
        clock.work(9.0 if len(order) <= 4 else seconds)

    calls = {"a": lambda: call("a", 0.001), "b": lambda: call("b", 0.002)}
    spent = time_in_turns(calls, range(3), clock)
    assert order == ["a", "b"] * 5
    assert spent["a"].median == pytest.approx(1.0) and spent["b"].median == pytest.approx(2.0)


def test_quartiles_surround_the_median() -> None:
    clock, lengths = Clock(), iter([9, 9, 1, 2, 3, 4, 5])
    spent = time_in_turns({"a": lambda: clock.work(next(lengths))}, range(5), clock)
    assert spent["a"] == Spread(2000, 3000, 4000)
    assert spent["a"].divided(4) == Spread(500, 750, 1000)


def test_one_round_is_enough_for_a_figure() -> None:
    clock = Clock()
    assert time_in_turns({"a": lambda: clock.work(1.0)}, range(1), clock)["a"].median == 1000
