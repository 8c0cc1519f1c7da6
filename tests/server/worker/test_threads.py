"""When a worker's model runs on several threads, by clocks that the test moves."""

from __future__ import annotations

import pytest

from server.worker.threads import FIRST_BAR_S, LOOK_S, MUCH, ThreadChoice

pytestmark = pytest.mark.unit

ONE_THREAD_S = (0.14, 0.25)


class Machine:
    """A clock, and how much its cores idle."""

    def __init__(self, most: int = 2) -> None:
        self.now = 100.0
        self.idled = 7.0
        self.used: list[int] = []
        self.choice = ThreadChoice(most, self.used.append, lambda: self.now, lambda: self.idled)
        self.choice.measured(ONE_THREAD_S)

    def chunk(self, idle_cores: float, seconds: float = 0.1, chunks: int = 1) -> int:
        """Let a look's time pass, then make a chunk; the threads that it ran on."""
        self.now += LOOK_S
        self.idled += idle_cores * LOOK_S
        self.choice.before_batch()
        count = self.choice.count
        self.choice.after_batch(chunks, seconds)
        return count

    def fall_and_rise(self) -> float:
        """Fall to one thread; the seconds until there are more."""
        self.chunk(1.0, seconds=1.0)
        fell = self.now
        while self.chunk(1.0) == 1:
            pass
        return self.now - fell


def test_it_begins_with_one_thread_and_takes_more_where_cores_idle() -> None:
    machine = Machine()
    assert machine.used == [1]
    assert machine.chunk(0.5) == 1
    assert machine.chunk(0.9) == 2
    assert machine.used == [1, 2]


@pytest.mark.parametrize(("idle_cores", "count"), [(2.0, 1), (2.5, 4)])
def test_as_many_cores_must_idle_as_threads_are_added(idle_cores: float, count: int) -> None:
    assert Machine(most=4).chunk(idle_cores) == count


def test_it_looks_over_a_second_not_over_less() -> None:
    machine = Machine()
    machine.now, machine.idled = machine.now + LOOK_S / 2, machine.idled + LOOK_S
    machine.choice.before_batch()
    assert machine.choice.count == 1


def test_what_idled_long_ago_does_not_count() -> None:
    machine = Machine()
    machine.now, machine.idled = machine.now + 60, machine.idled + 120
    machine.choice.before_batch()
    assert machine.choice.count == 1
    assert machine.chunk(1.0) == 2


def test_two_chunks_in_a_row_that_take_longer_than_one_thread_end_it() -> None:
    machine = Machine()
    slow = ONE_THREAD_S[0] + 0.01
    for seconds in (0.1, slow, 0.1, slow):
        machine.chunk(1.0, seconds)
    assert machine.choice.count == 2
    machine.chunk(1.0, slow)
    assert machine.choice.count == 1 and machine.used == [1, 2, 1]


def test_a_chunk_that_takes_much_longer_ends_it_at_once() -> None:
    machine = Machine()
    machine.chunk(1.0)
    machine.chunk(1.0, MUCH * ONE_THREAD_S[0] + 0.01)
    assert machine.choice.count == 1


@pytest.mark.parametrize(("chunks", "seconds"), [(1, 0.13), (2, 0.24), (4, 0.49)])
def test_batches_are_compared_with_batches(chunks: int, seconds: float) -> None:
    machine = Machine()
    machine.chunk(1.0)
    for _ in range(2):
        machine.chunk(1.0, seconds, chunks)
    assert machine.choice.count == 2
    for _ in range(2):
        machine.chunk(1.0, seconds + 0.03, chunks)
    assert machine.choice.count == 1


def test_the_way_up_is_barred_longer_each_time() -> None:
    machine = Machine()
    while machine.chunk(1.0) == 1:
        pass
    for bar_s in (2 * FIRST_BAR_S, 4 * FIRST_BAR_S, 8 * FIRST_BAR_S):
        assert machine.fall_and_rise() == pytest.approx(bar_s, abs=LOOK_S)


def test_after_threads_that_paid_the_bar_is_short_again() -> None:
    machine = Machine()
    while machine.chunk(1.0) == 1:
        pass
    for _ in range(3):
        machine.fall_and_rise()
    for _ in range(100):
        machine.chunk(1.0)
    assert machine.fall_and_rise() == pytest.approx(FIRST_BAR_S, abs=LOOK_S)


def test_nothing_is_chosen_before_one_thread_was_measured() -> None:
    machine = Machine()
    machine.choice.measured(())
    assert machine.chunk(2.0) == 1
