"""A session in virtual time, with fake workers and one output that records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from server.media.resampler import AudioFormat
from server.media.spec import MediaSpec
from server.session.lifetime import Limits
from server.session.request import Mode
from server.session.session import Session
from server.session.workers import ChunkRequest, IdentityHandle
from tests.support.clock import ManualClock
from tests.support.output import Recorder
from tests.support.workers import SPEC, FakeWorkers

FRAME = 1 / SPEC.fps
CHUNK = SPEC.chunk_frames * FRAME
SAMPLES = SPEC.sound_samples


@dataclass
class Scene:
    """The parts of one test."""

    clock: ManualClock
    workers: FakeWorkers
    session: Session
    viewer: Recorder
    retired: list[str] = field(default_factory=list)

    async def advance(self, seconds: float) -> None:
        """Let virtual time pass."""
        await self.clock.advance(seconds)

    async def push(self, samples: NDArray[np.int16], rate: int = 48_000) -> None:
        """Push everything at once; return when it was handed to the scheduler or dropped."""
        self.session.inbox.push(samples, AudioFormat(rate))
        await self.session.inbox.join()

    async def push_live(
        self, samples: NDArray[np.int16], *, step_s: float = 0.02, speed: float = 1.0
    ) -> None:
        """Push in real time at 48 kHz, ``step_s`` of sound every ``step_s / speed`` seconds."""
        step = round(step_s * 48_000)
        for at in range(0, len(samples), step):
            await self.advance(step_s / speed)
            await self.push(samples[at : at + step])


@asynccontextmanager
async def scene(
    *,
    cost: float | Callable[[ChunkRequest], float] = 0.02,
    mode: Mode = "speak",
    limits: Limits | None = None,
    attach: bool = True,
    spec: MediaSpec = SPEC,
    listening: bool = True,
) -> AsyncIterator[Scene]:
    """An open session, watched unless ``attach`` is False."""
    clock = ManualClock()
    workers = FakeWorkers(clock, cost, spec)
    await workers.start()
    retired: list[str] = []
    session = Session(
        workers,
        spec,
        clock,
        lambda _, reason: retired.append(reason),
        mode=mode,
        limits=limits,
        listening=listening,
    )
    await session.open(IdentityHandle(0, "identity"))
    viewer = Recorder(clock)
    if attach:
        session.attach(viewer)
    try:
        yield Scene(clock, workers, session, viewer, retired)
    finally:
        await session.aclose("test")
        await workers.aclose()


def gaps(times: list[float]) -> list[float]:
    """Seconds between neighbours."""
    return [later - sooner for sooner, later in zip(times, times[1:], strict=False)]


async def in_background(work: asyncio.Task[None]) -> None:
    """Cancel and await a task that a test left waiting."""
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
