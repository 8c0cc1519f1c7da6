"""Decides for one session when the worker makes the next chunk, and with which sound.

Keeps at most ``IN_FLIGHT`` chunks at the worker. Idle chunks are asked for just in time: when the
store lasts no longer than ``lead``, the longest of the worker's last answers plus a margin. Speech
that is already there is asked for ahead, until one chunk is in store or on its way; the rest waits
in the timeline, where an interrupt drops it for nothing. While speech is held (somebody watches,
but nobody's call stands yet) the picture idles, and speech that had begun goes on as a new segment.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from server.clock import Clock, wait_until
from server.media.spec import MediaSpec
from server.session.incoming import FrameTag
from server.session.pacer import Pacer, QueuedFrame
from server.session.scheduler import ChunkScheduler, Cut
from server.worker.messages import ChunkRequest, ChunkResult

IN_FLIGHT = 2
MARGIN_S = 0.025
REMEMBERED = 8
LIVE_CUSHION = 1  # idle units kept before a microphone's first: its packets come unevenly


@dataclass(frozen=True, slots=True)
class _Asked:
    """A chunk at the worker."""

    at: float
    marks: tuple[FrameTag, ...]
    starts: bool


class Producer:
    """Cuts, submits and takes back the chunks of one session; ``run`` is its task."""

    def __init__(
        self,
        spec: MediaSpec,
        timeline: ChunkScheduler,
        pacer: Pacer,
        clock: Clock,
        submit: Callable[[ChunkRequest], Awaitable[None]],
        *,
        live: bool = False,
    ) -> None:
        self._spec = spec
        self._timeline = timeline
        self._pacer = pacer
        self._clock = clock
        self._submit = submit
        self._live = live
        self._wake = asyncio.Event()
        self._asked: dict[int, _Asked] = {}
        self._answers: deque[float] = deque(maxlen=REMEMBERED)
        self._sequence = 0
        self._fresh_picture = True
        self.generation = 0
        self.running = False
        self.hold_speech = False
        self.jpeg = False

    @property
    def chunk_s(self) -> float:
        """Seconds of media in a chunk."""
        return self._spec.chunk_frames * self._spec.frame_s

    @property
    def lead_s(self) -> float:
        """How long before the store is empty the next chunk is asked for."""
        slowest = max(self._answers, default=self.chunk_s)
        return min(slowest + MARGIN_S, 2 * self.chunk_s)

    @property
    def frames_ahead(self) -> int:
        """Frames in store or at the worker."""
        return self._pacer.frames + len(self._asked) * self._spec.chunk_frames

    @property
    def sounding(self) -> bool:
        """Whether cut sound is in store or at the worker."""
        at_worker = any(mark.samples for asked in self._asked.values() for mark in asked.marks)
        return at_worker or self._pacer.sounding

    def poke(self) -> None:
        """Look again: sound came, a unit was played, somebody attached."""
        self._wake.set()

    def start(self) -> None:
        """Somebody watches: make chunks, beginning with a keyframe."""
        self.running, self._fresh_picture = True, True
        self.poke()

    def stop(self) -> None:
        """Nobody watches: make nothing more."""
        self.running = False

    def interrupt(self) -> int:
        """Forget everything that was cut and return the new generation."""
        self.generation += 1
        self._asked.clear()
        self._fresh_picture = True
        self.poke()
        return self.generation

    def made(self, made: ChunkResult) -> None:
        """Take a chunk back; one of an older generation is dropped."""
        asked = self._asked.pop(made.sequence, None)
        if asked is None or made.generation != self.generation:
            return
        self._answers.append(self._clock.now() - asked.at)
        items = [QueuedFrame(*pair) for pair in zip(made.units, asked.marks, strict=True)]
        self._pacer.add(items, starts=asked.starts, keep=LIVE_CUSHION if self._live else 0)
        self.poke()

    async def run(self) -> None:
        """Cut and submit until cancelled."""
        while True:
            self._wake.clear()
            now = self._clock.now()
            plan = self.plan(now)
            if plan is None:
                await self._wake.wait()
            elif plan.at > now:
                await wait_until(self._clock, self._wake, plan.at)
            else:
                await self._submit(self.cut(plan, now))

    def plan(self, now: float) -> Cut | None:
        """The next cut, or None when nothing can be done before something changes."""
        if not self.running or len(self._asked) >= IN_FLIGHT:
            return None
        store = self._pacer.horizon_s(now) + len(self._asked) * self.chunk_s
        urgent = now + store - self.lead_s
        if self.hold_speech:
            self._timeline.break_off()
            return Cut(max(now, urgent), lead_in=self._spec.chunk_frames)
        plan = self._timeline.plan(now, urgent, talking=self.sounding)
        is_ahead = self.frames_ahead > self._spec.chunk_frames
        if is_ahead and not plan.starts and plan.at < urgent:
            return replace(plan, at=urgent)
        return plan

    def cut(self, plan: Cut, now: float) -> ChunkRequest:
        """Take the planned chunk from the timeline as a job for the worker."""
        slack = self._pacer.horizon_s(now) + len(self._asked) * self.chunk_s
        chunk = self._timeline.cut(plan, now)
        job = ChunkRequest(
            generation=self.generation,
            sequence=self._sequence,
            first_index=self._sequence * self._spec.chunk_frames,
            features=chunk.features.tobytes(),
            sound=chunk.sound.tobytes(),
            speaking=tuple(mark.segment is not None for mark in chunk.marks),
            keyframe=chunk.starts or self._fresh_picture,
            jpeg=self.jpeg,
            slack_s=0.0 if chunk.starts else slack,
        )
        self._asked[self._sequence] = _Asked(now, chunk.marks, chunk.starts)
        self._sequence += 1
        self._fresh_picture = False
        return job
