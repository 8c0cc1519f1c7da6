"""One clock for picture and sound: sends each frame to the audience when it is due.

Frame n of a run is due at ``start + n / fps``; picture and sound leave together, so they cannot
drift apart. The pacer numbers what it plays: the index of frames grows by one whatever was dropped
before, and never jumps back.

* A frame that was not there when it was due plays at once and ``start`` slips by the delay: nothing
  of speech is left out, and ``late_frames`` counts it. The slack gained stays, so a worker whose
  times vary is late a few times, not for ever.
* A loop that woke late sends at once and keeps ``start``, unless it is behind by more than
  ``CATCH_UP_FRAMES``: then ``start`` slips too, since a burst would help nobody.

**Bound**: the producer's, two chunks queued or on their way, plus what it skips. **Drop rule**:
idle frames before the start of speech are dropped (all but ``keep``), since the speech chunk begins
with a keyframe. Nothing else is ever dropped but by ``clear``.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from server.clock import Clock
from server.media.av_frame import AVFrame
from server.session.audience import Audience
from server.session.incoming import FrameTag
from server.session.state import SessionStatus

LATE_S = 0.005
CATCH_UP_FRAMES = 2


@dataclass(frozen=True, slots=True)
class QueuedFrame:
    """A frame and which speech it carries; ``came_at`` of a chunk's first is when that arrived."""

    frame: AVFrame
    tag: FrameTag
    came_at: float | None = None

    @property
    def idle(self) -> bool:
        """Whether it holds no pushed sound."""
        return self.tag.samples == 0


class Pacer:
    """Plays the frames of one session; ``run`` is its task.

    Attributes:
        frame_played: set after each frame; the producer waits for it.
    """

    def __init__(
        self,
        clock: Clock,
        frame_s: float,
        audience: Audience,
        status: SessionStatus,
        on_waited: Callable[[float], None] = lambda _: None,
    ) -> None:
        """``on_waited`` gets the seconds that each chunk waited for its time."""
        self._on_waited = on_waited
        self._clock = clock
        self._frame_s = frame_s
        self._audience = audience
        self._status = status
        self._queue: deque[QueuedFrame] = deque()
        self._filled_at = 0.0
        self._due: float | None = None
        self._changed = asyncio.Event()
        self._paused = True
        self.frame_played = asyncio.Event()
        self.played_frames = 0
        self.late_frames = 0
        self.skipped_frames = 0

    @property
    def queued_frames(self) -> int:
        """Frames that wait to be played."""
        return len(self._queue)

    @property
    def sounding(self) -> bool:
        """Whether pushed sound waits to be played."""
        return any(not item.idle for item in self._queue)

    def buffered_s(self, now: float) -> float:
        """Seconds until the queue is empty and the last frame was shown."""
        shown = 0.0 if self._due is None else max(0.0, self._due - now)
        return shown + len(self._queue) * self._frame_s

    def add(self, items: Sequence[QueuedFrame], *, starts: bool = False, keep: int = 0) -> None:
        """Append a chunk; one that ``starts`` speech drops idle frames before it, all but ``keep``.

        Dropping is from the end, so what is kept can still be decoded.
        """
        if starts:
            while len(self._queue) > keep and self._queue[-1].idle:
                self._queue.pop()
                self.skipped_frames += 1
        if not self._queue:
            self._filled_at = self._clock.now()
        self._queue.extend(items)
        self._changed.set()

    def clear(self) -> None:
        """Drop everything; what comes next plays when it comes, and is not late."""
        self._queue.clear()
        self._due = None
        self._changed.set()

    def pause(self) -> None:
        """Stop the clock: nobody watches. What is queued waits."""
        self._paused = True
        self._due = None
        self._changed.set()

    def resume(self) -> None:
        """Start the clock again with the queued speech; idle frames are stale and dropped."""
        self._paused = False
        self._queue = deque(item for item in self._queue if not item.idle)
        self._filled_at = self._clock.now()
        self._changed.set()

    async def run(self) -> None:
        """Play until cancelled."""
        while True:
            if self._paused or not self._queue:
                self._changed.clear()
                await self._changed.wait()
                continue
            now = self._clock.now()
            due = self._next_due(now)
            if due > now:
                await self._clock.sleep(due - now)
                continue
            self._play_next()
            self._due = due + self._frame_s

    def _next_due(self, now: float) -> float:
        """When the first queued frame is due, after any slip."""
        if self._due is None:
            self._due = now
        elif self._filled_at > self._due + LATE_S:
            self._due = self._filled_at
            self.late_frames += 1
        if now - self._due > CATCH_UP_FRAMES * self._frame_s:
            self._due = now
            self.late_frames += 1
        return self._due

    def _play_next(self) -> None:
        item = self._queue.popleft()
        if item.came_at is not None:
            self._on_waited(self._clock.now() - item.came_at)
        self._status.play(item.tag)
        self._audience.send(dataclasses.replace(item.frame, index=self.played_frames))
        self.played_frames += 1
        self.frame_played.set()
