"""A clock that moves only when a test says so, and a loop that is given time to react."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque

MOST_TURNS = 200  # of the loop after each step; more is a task that never waits


class ManualClock:
    """Implements ``Clock``; ``advance`` wakes the sleepers in the order of their deadlines."""

    def __init__(self, start: float = 100.0) -> None:
        self._now = start
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Virtual seconds."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Sleep in virtual time."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        end = self._now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            when, _, woken = heapq.heappop(self._sleepers)
            if woken.done():
                continue
            self._now = max(self._now, when)
            woken.set_result(None)
            await settle()
        self._now = end
        await settle()

    async def jump(self, seconds: float) -> None:
        """Let the time pass unnoticed, as when the loop was busy, then wake whoever is due."""
        self._now += seconds
        await self.advance(0)


async def settle() -> None:
    """Give every task that can run the chance to, until only time or the world can wake one."""
    ready: deque[object] = vars(asyncio.get_running_loop())["_ready"]  # no public name says it
    for _ in range(MOST_TURNS):
        await asyncio.sleep(0)
        if not ready:
            return
