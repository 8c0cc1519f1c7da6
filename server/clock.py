"""The clock that everything real-time is given, so that tests can run in virtual time."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic seconds and a way to wait for them."""

    def now(self) -> float:
        """Seconds on a clock that never jumps; only differences mean anything."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``, at once when they are not positive."""
        ...


class SystemClock:
    """The machine's own monotonic clock."""

    def now(self) -> float:
        """Seconds of ``time.monotonic``."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running event loop."""
        await asyncio.sleep(max(0.0, seconds))


async def wait_until(clock: Clock, event: asyncio.Event, deadline: float) -> bool:
    """Wait for ``event`` or the clock's ``deadline``; whether the event came.

    The sleep is a task of its own, cancelled and awaited before this returns.
    """
    if event.is_set():
        return True
    if deadline <= clock.now():
        return False
    if deadline == float("inf"):
        await event.wait()
        return True
    sleeper = asyncio.ensure_future(clock.sleep(deadline - clock.now()))
    waiter = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({sleeper, waiter}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeper.cancel()
        waiter.cancel()
        await asyncio.gather(sleeper, waiter, return_exceptions=True)
    return event.is_set()
