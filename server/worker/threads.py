"""Chooses how many threads a worker's model runs on: several while the machine idles, else one.

The threads of an operation wait for each other. When another process takes the core of one, all
stand still until it runs again: on two cores of which a process took one, a frame of ``mini`` took
79 ms on two threads and 35 ms on one (24 and 33 ms with nothing else running). So one thread is the
rule, and what a worker's capacity is measured with. More are used as long as they pay:

* **up** when as many cores as would be added have idled since the last look;
* **down** when two chunks in a row take longer than they take one thread, or one takes much longer.
  The way up is then barred for a while, and for longer each time, unless they paid for as long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

LOOK_S = 1.0
"""The least time over which idling is looked at."""
STALE_S = 5.0
"""What idled before a pause says nothing of now."""
IDLE = 0.8
"""Share of a core that idles where nothing but the gateway uses it."""
MUCH = 1.5
"""Times as long as one thread takes."""
FIRST_BAR_S, LONGEST_BAR_S = 10.0, 300.0


class ThreadChoice:
    """Looks at the machine before each chunk and at the clock after it."""

    def __init__(
        self,
        most: int,
        use_threads: Callable[[int], None],
        clock: Callable[[], float],
        idle_s: Callable[[], float],
    ) -> None:
        """Begins with one thread.

        Args:
            most: threads that may be used.
            use_threads: sets their number.
            clock: gives seconds.
            idle_s: seconds that all usable cores together have idled, since some moment.
        """
        self._most = most
        self._use_threads = use_threads
        self._clock = clock
        self._idle_s = idle_s
        self._one_s: Sequence[float] = ()
        self._looked = (clock(), idle_s())
        self._barred_until, self._bar_s = clock(), FIRST_BAR_S
        self._rose_at, self._slow_before = clock(), False
        self.count = 1
        use_threads(1)

    def measured(self, batch_s: Sequence[float]) -> None:
        """Take how long batches of 1, 2, ... chunks take one thread, seconds."""
        self._one_s = batch_s

    def before_batch(self) -> None:
        """Use more threads if cores idle for them."""
        now = self._clock()
        elapsed = now - self._looked[0]
        if self.count == self._most or elapsed < LOOK_S:
            return
        idle_s = self._idle_s()
        idle_cores = (idle_s - self._looked[1]) / elapsed
        self._looked = (now, idle_s)
        if elapsed > STALE_S:
            return
        if idle_cores >= IDLE * (self._most - 1) and now >= self._barred_until and self._one_s:
            self._rose_at, self._slow_before = now, False
            self._use(self._most)

    def after_batch(self, chunks: int, spent_s: float) -> None:
        """Fall back to one thread if ``chunks`` took longer than it would have."""
        if self.count == 1:
            return
        largest = min(chunks, len(self._one_s))
        ratio = spent_s / (self._one_s[largest - 1] * chunks / largest)
        slow, slow_before = ratio > 1, self._slow_before
        self._slow_before = slow
        if not (ratio > MUCH or (slow and slow_before)):
            return
        now = self._clock()
        paid = now - self._rose_at >= self._bar_s
        self._bar_s = FIRST_BAR_S if paid else min(LONGEST_BAR_S, 2 * self._bar_s)
        self._barred_until = now + self._bar_s
        self._looked = (now, self._idle_s())
        self._use(1)

    def _use(self, count: int) -> None:
        self.count = count
        self._use_threads(count)
