"""Measures how many sessions a worker serves in real time: times batches of chunks at start.

A session needs one chunk in the time that a chunk lasts. Streams that are due together share a
model call, so what counts is how long batches of 1, 2, ... chunks take. ``HEADROOM`` of the time
may be spent; the rest is for portraits that are being prepared, and for whatever else the machine
does. The gateway's own work is not measured, hence ``MAX_SESSIONS``.
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
MAX_SESSIONS = 64


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a worker can serve.

    Attributes:
        sessions: at once, in real time; at least 1.
        batch_s: seconds that batches of 1, 2, ... chunks take.
    """

    sessions: int
    batch_s: tuple[float, ...] = ()

    @property
    def alone_s(self) -> float:
        """Seconds that the chunk of one session takes; 0 where nothing was measured."""
        return self.batch_s[0] if self.batch_s else 0.0


def measure_capacity(
    make_batch: Callable[[int], Callable[[], None]],
    chunk_s: float,
    max_batch: int,
    clock: Callable[[], float],
) -> Capacity:
    """Time batches of 1, 2, ... ``max_batch`` chunks until one takes too long.

    Args:
        make_batch: n -> a function that makes the next chunk of n streams.
        chunk_s: seconds that a chunk lasts.
        clock: gives seconds.
    """
    budget = HEADROOM * chunk_s
    batch_s: list[float] = []
    for n in range(1, max_batch + 1):
        batch_s.append(_seconds(make_batch, n, budget, clock))
        if batch_s[-1] > budget:
            break
    return Capacity(sessions_in(budget, batch_s), tuple(batch_s))


def sessions_in(budget: float, batch_s: list[float]) -> int:
    """The chunks that fit in ``budget`` seconds, at least one and at most ``MAX_SESSIONS``.

    Args:
        batch_s: seconds that batches of 1, 2, ... chunks take; the last is the largest batch
            that is used, or the first that is over the budget.
    """
    if batch_s[-1] > budget:
        return max(1, len(batch_s) - 1)
    batches, left = divmod(budget, max(batch_s[-1], budget / MAX_SESSIONS))
    partial = sum(seconds <= left for seconds in batch_s[:-1])
    return min(MAX_SESSIONS, int(batches) * len(batch_s) + partial)


def _seconds(
    make_batch: Callable[[int], Callable[[], None]],
    n: int,
    budget: float,
    clock: Callable[[], float],
) -> float:
    """The median over ``ROUNDS``, after one to warm up; the first if it is hopeless.

    A batch that fails (for want of memory) counts as infinitely long; one chunk must work.
    """
    try:
        run = make_batch(n)
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
