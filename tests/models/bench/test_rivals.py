"""What mini's speed is held to, and how a frame's time is split by part."""

from __future__ import annotations

from typing import Any

import pytest

from models.bench.rivals import LIP_BFLOAT16, LIP_FLOAT32, BenchBar, PartTimer, bars

pytestmark = pytest.mark.unit


class Clock:
    """Seconds that advance only by ``work``."""

    def __init__(self) -> None:
        self.now = 7.0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float) -> None:
        self.now += seconds


def test_a_part_inside_another_one_is_counted_once() -> None:
    clock = Clock()
    timer = PartTimer(clock)
    decode = timer.timed("decode", lambda seconds: clock.work(seconds))
    for _ in range(2):
        clock.work(100.0)  # belongs to nothing
        with timer.part("composition"):
            clock.work(1.0)
            decode(0.25)
            clock.work(2.0)
    assert timer.take() == {"composition": 6000.0, "decode": 500.0}
    assert timer.take() == {}


def test_a_part_ends_where_it_fails() -> None:
    clock = Clock()
    timer = PartTimer(clock)
    with pytest.raises(ZeroDivisionError), timer.part("features"):
        clock.work(1.0)
        clock.work(1 / 0)
    clock.work(5.0)
    with timer.part("encode"):
        clock.work(0.5)
    assert timer.take() == {"features": 1000.0, "encode": 500.0}


@pytest.mark.parametrize(
    ("value", "at_least", "met", "distance"),
    [(1.5, False, True, 0.25), (2.5, False, False, -0.25), (2.5, True, True, 0.25)],
)
def test_a_bar_says_how_far_away_it_is(
    value: float, at_least: bool, met: bool, distance: float
) -> None:
    bar = BenchBar("what", value, 2.0, at_least)
    assert bar.met is met and bar.distance == distance
    assert bar.to_json()["distance"] == distance


def test_bars_compare_whole_frames_and_sampling_alone() -> None:
    record: dict[str, Any] = {
        "ms_per_frame": {"mini": 12, "mini_one_thread": 18, LIP_FLOAT32: 24, LIP_BFLOAT16: 16},
        "parts_ms": {
            "mini": {"sampling": 5, "composition": 2.5},
            "mini_plain": {"sampling": 15, "composition": 9},
        },
    }
    values = [bar.value for bar in bars(record, 512.0)]
    assert values == [0.5, 0.75, 3, 1.5, 2.5, 512]
    assert all(bar.met for bar in bars(record, 512.0))
