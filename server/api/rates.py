"""Counts requests by name: a minute's worth at once, then as many a minute, evenly."""

from __future__ import annotations

import math
from collections import OrderedDict

from server.clock import Clock
from server.errors import RateLimited

MOST_NAMES = 10_000


class RequestRates:
    """Token buckets. **Bound**: ``MOST_NAMES``. **Drop rule**: the name used longest ago."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # left, when

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, name: str, per_minute: int) -> None:
        """Count one request; with 0 a minute nothing is counted.

        Raises:
            RateLimited: the name has had its share; says when to try again.
        """
        if not per_minute:
            return
        now, per_s = self._clock.now(), per_minute / 60
        left, at = self._buckets.pop(name, (float(per_minute), now))
        left = min(per_minute, left + (now - at) * per_s)
        refused = left < 1
        self._buckets[name] = (left if refused else left - 1, now)
        if len(self._buckets) > MOST_NAMES:
            self._buckets.popitem(last=False)
        if refused:
            raise RateLimited(
                f"expected at most {per_minute} such requests a minute, got more; try again later",
                retry_after_s=max(1, math.ceil((1 - left) / per_s)),
            )
