"""Capacity in virtual time: batches that fit and that do not, models that fail or are slow."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from server.worker.capacity import (
    HEADROOM,
    MAX_SESSIONS,
    ROUNDS,
    Capacity,
    measure_capacity,
    sessions_in,
)

pytestmark = pytest.mark.unit

CHUNK_S = 0.2


class Machine:
    """Takes ``seconds[n - 1]`` for a batch of n chunks, and ``cold`` times as long at first."""

    def __init__(self, *seconds: float, cold: float = 10.0) -> None:
        self.seconds, self.cold, self.now = seconds, cold, 0.0
        self.calls: list[int] = []

    def make(self, n: int) -> Callable[[], None]:
        """One batch of n chunks."""

        def run() -> None:
            batch_s = self.seconds[n - 1]
            if math.isinf(batch_s):
                raise RuntimeError("out of memory")
            self.now += batch_s if n in self.calls else self.cold * batch_s
            self.calls.append(n)

        return run

    def room(self) -> Capacity:
        """What is measured."""
        return measure_capacity(self.make, CHUNK_S, len(self.seconds), lambda: self.now)


@pytest.mark.parametrize(
    ("seconds", "sessions"),
    [
        ((0.10, 0.20, 0.30, 0.40), 1),  # as a CPU: no gain from batches
        ((0.10, 0.15, 0.20, 0.25), 2),
        ((0.30, 0.60, 0.90, 1.20), 1),  # slower than real time: one may try
        ((0.10, 0.11, 0.12, 0.13), 4),  # as a GPU: one full batch fits, no second
        ((0.019, 0.03, 0.04, 0.07), 4 + 4 + 1),  # two full batches, and one chunk in what is left
        ((0.05, math.inf, math.inf, math.inf), 1),  # no memory for two
        ((0.05, 0.05, math.inf, math.inf), 2),
        ((0.0, 0.0), MAX_SESSIONS),
    ],
)
def test_room(seconds: tuple[float, ...], sessions: int) -> None:
    room = Machine(*seconds).room()
    assert room.sessions == sessions
    assert room.alone_s == pytest.approx(seconds[0])


def test_what_is_promised_can_be_made_in_time() -> None:
    seconds = (0.021, 0.029, 0.034, 0.047)
    sessions = Machine(*seconds).room().sessions
    whole, left = divmod(sessions, 4)
    assert whole * seconds[3] + (seconds[left - 1] if left else 0) <= HEADROOM * CHUNK_S
    assert (whole + 1) * seconds[3] > HEADROOM * CHUNK_S


def test_warming_up_is_not_measured() -> None:
    assert Machine(0.05, 0.06, cold=100).room().alone_s == pytest.approx(0.05)


def test_a_hopeless_model_is_tried_twice_only() -> None:
    machine = Machine(60.0, 120.0)
    assert machine.room().sessions == 1
    assert machine.calls == [1, 1]


def test_larger_batches_are_not_tried_in_vain() -> None:
    machine = Machine(0.1, 0.2, 0.3, 0.4)
    machine.room()
    assert machine.calls == [1] * (1 + ROUNDS) + [2] * (1 + ROUNDS)


def test_a_model_that_cannot_make_one_chunk_is_not_warm() -> None:
    with pytest.raises(RuntimeError, match="memory"):
        Machine(math.inf).room()


def test_no_model_is_free() -> None:
    assert sessions_in(0.16, [0.0]) == MAX_SESSIONS
