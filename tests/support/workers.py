"""Workers without processes: units that say which session, chunk and frame they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.errors import PortraitError
from server.clock import Clock
from server.errors import NotReady
from server.media.av_frame import AVFrame
from server.media.spec import MediaSpec
from server.session.workers import ChunkCallbacks
from server.worker.identities import content_hash
from server.worker.messages import ChunkRequest, ChunkResult

SPEC = MediaSpec(fps=25.0, size=(256, 256), chunk_frames=4, lookahead_frames=2, sample_rate=16_000)
BAD_PORTRAIT = b"no face here"


class FakeWorkers:
    """Implements ``Workers`` with one queue that takes ``cost`` seconds a chunk."""

    def __init__(
        self,
        clock: Clock,
        cost: float | Callable[[ChunkRequest], float] = 0.02,
        spec: MediaSpec = SPEC,
    ) -> None:
        self.jobs: list[tuple[str, ChunkRequest]] = []
        self.seeds: dict[str, int] = {}
        self.identities: dict[str, str] = {}
        self.sinks: dict[str, ChunkCallbacks] = {}
        self.keyframes = 0
        self.warm = True
        self.measured = 4
        self.prepared = 0
        self._cost = cost
        self._clock = clock
        self._spec = spec
        self._forced: set[str] = set()
        self._generations: dict[str, int] = {}
        self._queue: asyncio.Queue[tuple[str, ChunkRequest]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    @property
    def spec(self) -> MediaSpec | None:
        """The spec, once warm."""
        return self._spec if self.warm else None

    @property
    def ready(self) -> bool:
        """Whether the test made it warm."""
        return self.warm

    @property
    def room(self) -> int:
        """What the test says that was measured."""
        return self.measured if self.warm else 0

    async def start(self) -> None:
        """Start the queue."""
        self._task = asyncio.create_task(self._work(), name="fake-workers")

    async def wait_ready(self) -> MediaSpec:
        """Warm at once."""
        return self._spec

    async def prepare(self, portrait: bytes) -> str:
        """Take anything but ``BAD_PORTRAIT``."""
        if not self.warm:
            raise NotReady()
        if portrait == BAD_PORTRAIT:
            raise PortraitError("expected one face, got none", code="no_face")
        self.prepared += 1
        return content_hash(portrait)

    async def open(
        self, session: str, identity: str, sink: ChunkCallbacks, *, seed: int = 0
    ) -> None:
        """Remember the sink."""
        self.sinks[session] = sink
        self.seeds[session] = seed
        self.identities[session] = identity
        self._forced.add(session)

    async def submit(self, session: str, job: ChunkRequest) -> None:
        """Queue a job."""
        self.jobs.append((session, job))
        self._queue.put_nowait((session, job))

    async def interrupt(self, session: str, generation: int) -> None:
        """Older jobs are not made."""
        self._generations[session] = generation

    async def keyframe(self, session: str) -> None:
        """The next frame is a keyframe."""
        self.keyframes += 1
        self._forced.add(session)

    async def close(self, session: str) -> None:
        """Forget the sink."""
        self.sinks.pop(session, None)

    async def aclose(self) -> None:
        """End the queue."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def lose(self, session: str) -> None:
        """As if the process had crashed."""
        self.sinks.pop(session).lost("worker_lost", "the worker ended")

    async def _work(self) -> None:
        while True:
            session, job = await self._queue.get()
            if job.generation < self._generations.get(session, 0):
                continue
            cost = self._cost(job) if callable(self._cost) else self._cost
            await self._clock.sleep(cost)
            sink = self.sinks.get(session)
            if sink is not None:
                units = self._units(session, job)
                sink.made(ChunkResult(session, job.generation, job.sequence, units, cost, 1))

    def _units(self, session: str, job: ChunkRequest) -> tuple[AVFrame, ...]:
        sound = np.frombuffer(job.sound, np.int16).reshape(self._spec.chunk_frames, -1)
        units = []
        for k, piece in enumerate(sound):
            keyframe = session in self._forced or (job.keyframe and k == 0)
            self._forced.discard(session)
            picture = f"{session} {job.sequence} {k}".encode()
            units.append(
                AVFrame(
                    generation=job.generation,
                    index=job.first_index + k,
                    keyframe=keyframe,
                    speaking=job.speaking[k],
                    video=picture,
                    opus=(b"opus", b"opus"),
                    pcm=piece.tobytes(),
                    jpeg=b"jpeg " + picture if job.jpeg else b"",
                )
            )
        return tuple(units)


def features_of(job: ChunkRequest, spec: MediaSpec = SPEC) -> NDArray[np.float32]:
    """What the model hears with a job, float32 [F + L, samples]."""
    return np.frombuffer(job.features, np.float32).reshape(spec.needed_frames, -1)
