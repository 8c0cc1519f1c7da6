"""One clock for picture and sound: hands on each unit when it is due, to whoever watches.

AVFrame n of a run is due at ``start + n / fps``; picture and sound leave in the same unit, so they
cannot drift apart. The pacer numbers what it plays: the index of units grows by one whatever was
dropped before, and never jumps back.

* A unit that was not there when it was due plays at once and ``start`` slips by the delay: nothing
  of speech is left out, and ``late_units`` counts it. The slack gained stays, so a worker whose
  times vary is late a few times, not for ever.
* A loop that woke late sends at once and keeps ``start``, unless it is behind by more than
  ``CATCH_UP_FRAMES``: then ``start`` slips too, since a burst would help nobody.
* Idle units that stand before the start of speech are dropped (all but ``keep``), since the speech
  chunk begins with a keyframe. Nothing else is ever dropped but by ``clear``.

The queue is bounded by the producer: two chunks in store or on their way, plus what it skips.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from server.clock import Clock
from server.media.av_frame import AVFrame
from server.session.incoming import FrameTag

LATE_S = 0.005
CATCH_UP_FRAMES = 2


@dataclass(frozen=True, slots=True)
class QueuedFrame:
    """A unit and what its frame holds."""

    unit: AVFrame
    mark: FrameTag

    @property
    def idle(self) -> bool:
        """Whether nobody's sound is in it."""
        return self.mark.samples == 0


class Pacer:
    """Plays the units of one session; ``run`` is its task."""

    def __init__(self, clock: Clock, frame_s: float, play: Callable[[QueuedFrame], None]) -> None:
        self._clock = clock
        self._frame_s = frame_s
        self._play = play
        self._queue: deque[QueuedFrame] = deque()
        self._filled_at = 0.0
        self._due: float | None = None
        self._wake = asyncio.Event()
        self._paused = True
        self._index = 0
        self.late_units = 0
        self.skipped_units = 0

    @property
    def frames(self) -> int:
        """Units in store."""
        return len(self._queue)

    @property
    def sounding(self) -> bool:
        """Whether queued sound is in store."""
        return any(not item.idle for item in self._queue)

    def horizon_s(self, now: float) -> float:
        """Seconds until the store is empty and the last unit was shown."""
        shown = 0.0 if self._due is None else max(0.0, self._due - now)
        return shown + len(self._queue) * self._frame_s

    def add(self, items: Sequence[QueuedFrame], *, starts: bool = False, keep: int = 0) -> None:
        """Append a chunk; one that ``starts`` speech drops idle units before it, all but ``keep``.

        Dropping is from the end, so what is kept can still be decoded.
        """
        if starts:
            while len(self._queue) > keep and self._queue[-1].idle:
                self._queue.pop()
                self.skipped_units += 1
        if not self._queue:
            self._filled_at = self._clock.now()
        self._queue.extend(items)
        self._wake.set()

    def clear(self) -> None:
        """Drop everything; what comes next plays when it comes, and is not late."""
        self._queue.clear()
        self._due = None
        self._wake.set()

    def pause(self) -> None:
        """Stop the clock: nobody watches. What is in store waits."""
        self._paused = True
        self._due = None
        self._wake.set()

    def resume(self) -> None:
        """Start the clock again with the speech in store; idle units are stale and go."""
        self._paused = False
        self._queue = deque(item for item in self._queue if not item.idle)
        self._filled_at = self._clock.now()
        self._wake.set()

    async def run(self) -> None:
        """Play until cancelled."""
        while True:
            if self._paused or not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            now = self._clock.now()
            due = self._next_due(now)
            if due > now:
                await self._clock.sleep(due - now)
                continue
            self._play_next()
            self._due = due + self._frame_s

    def _next_due(self, now: float) -> float:
        """When the first unit in store is due, after any slip."""
        if self._due is None:
            self._due = now
        elif self._filled_at > self._due + LATE_S:
            self._due = self._filled_at
            self.late_units += 1
        if now - self._due > CATCH_UP_FRAMES * self._frame_s:
            self._due = now
            self.late_units += 1
        return self._due

    def _play_next(self) -> None:
        item = self._queue.popleft()
        unit = dataclasses.replace(item.unit, index=self._index)
        self._index += 1
        self._play(QueuedFrame(unit, item.mark))
