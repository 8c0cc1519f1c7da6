"""How many sessions a worker serves in real time: batches of chunks are made and timed at start.

A session needs one chunk in the time that a chunk lasts. Streams that are due together share a
model call, so what counts is how long batches of 1, 2, ... chunks take. ``HEADROOM`` of the time
may be spent; the rest is for portraits that are being prepared, and for whatever else the machine
does. The gateway's own work is not measured, hence ``MOST``.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

log = logging.getLogger(__name__)

HEADROOM = 0.8
ROUNDS = 3
MOST = 64


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a worker can serve.

    Attributes:
        sessions: at once, in real time; at least 1.
        alone_s: seconds that the chunk of one session takes; 0 where nothing was measured.
    """

    sessions: int
    alone_s: float = 0.0


def measure_capacity(
    make: Callable[[int], Callable[[], None]],
    chunk_s: float,
    max_batch: int,
    clock: Callable[[], float],
) -> Capacity:
    """Time batches of 1, 2, ... ``max_batch`` chunks until one takes too long.

    Args:
        make: n -> what makes the next chunk of n streams.
        chunk_s: seconds that a chunk lasts.
        clock: gives seconds.
    """
    budget = HEADROOM * chunk_s
    taken: list[float] = []
    for n in range(1, max_batch + 1):
        taken.append(_seconds(make, n, budget, clock))
        if taken[-1] > budget:
            break
    return Capacity(sessions_in(budget, taken), taken[0])


def sessions_in(budget: float, taken: list[float]) -> int:
    """The chunks that can be made in ``budget`` seconds, at least one and at most ``MOST``.

    Args:
        taken: seconds that batches of 1, 2, ... chunks take; the last is the largest batch that is
            ever made, or the first that is over the budget.
    """
    if taken[-1] > budget:
        return max(1, len(taken) - 1)
    batches, left = divmod(budget, max(taken[-1], budget / MOST))
    partial = sum(seconds <= left for seconds in taken[:-1])
    return min(MOST, int(batches) * len(taken) + partial)


def _seconds(
    make: Callable[[int], Callable[[], None]], n: int, budget: float, clock: Callable[[], float]
) -> float:
    """The median over ``ROUNDS``, after one to warm up; the first if it is hopeless.

    A batch that the model cannot make (for want of memory) takes for ever; one chunk must work.
    """
    try:
        run = make(n)
        run()
        times: list[float] = []
        while len(times) < ROUNDS and not (times and times[0] > 2 * budget):
            began = clock()
            run()
            times.append(clock() - began)
    except Exception as error:
        if n == 1:
            raise
        log.warning("a batch of %d chunks fails: %s", n, error)
        return math.inf
    return median(times)
