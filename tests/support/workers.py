"""Workers without processes: frames that say which session, chunk and frame they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.errors import PortraitError
from models.face.report import PortraitReport
from models.io.face_box import FaceBox
from server.avatars import content_hash
from server.clock import Clock, wait_until
from server.errors import NotReady
from server.media.av_frame import AVFrame
from server.media.spec import MediaSpec
from server.session.workers import (
    ChunkCallbacks,
    ChunkRequest,
    ChunkResult,
    IdentityHandle,
    WorkerStatus,
)

SPEC = MediaSpec(fps=25.0, size=(256, 256), chunk_frames=4, lookahead_frames=2, sample_rate=16_000)
BAD_PORTRAIT = b"no face here"


class FakeStream:
    """Implements ``WorkerStreamHandle`` for one session of ``FakeWorkers``."""

    def __init__(self, workers: FakeWorkers, session: str) -> None:
        self._workers = workers
        self._session = session

    def submit(self, request: ChunkRequest) -> None:
        """Queue a request."""
        self._workers.requests.append((self._session, request))
        if request.starts and self._workers.gives_way:
            self._workers.starts.set()
        self._workers.queue.put_nowait((self._session, request))

    def interrupt(self, epoch: int) -> None:
        """Older requests are not made."""
        self._workers.epochs[self._session] = epoch

    def keyframe(self) -> None:
        """The next frame is a keyframe."""
        self._workers.keyframes += 1
        self._workers.forced.add(self._session)

    def close(self) -> None:
        """Forget the callbacks."""
        self._workers.callbacks.pop(self._session, None)


class FakeWorkers:
    """Implements ``Workers`` with one queue that takes ``cost`` seconds a chunk.

    Attributes:
        gives_way: idle chunks are given up when speech starts.
        rest_s: how long after the first frame of a chunk its others come; None is with it.
    """

    def __init__(
        self,
        clock: Clock,
        cost: float | Callable[[ChunkRequest], float] = 0.02,
        spec: MediaSpec = SPEC,
    ) -> None:
        self.requests: list[tuple[str, ChunkRequest]] = []
        self.seeds: dict[str, int] = {}
        self.disclosed: dict[str, bool] = {}
        self.identities: dict[str, IdentityHandle] = {}
        self.callbacks: dict[str, ChunkCallbacks] = {}
        self.keyframes = 0
        self.warm = True
        self.measured = 4
        self.prepared = 0
        self.boxes: list[FaceBox | None] = []
        self.report: PortraitReport | None = None
        self.forced: set[str] = set()
        self.epochs: dict[str, int] = {}
        self.gives_way = False
        self.rest_s: float | None = None
        self.starts = asyncio.Event()
        self.queue: asyncio.Queue[tuple[str, ChunkRequest]] = asyncio.Queue()
        self._cost = cost
        self._clock = clock
        self._spec = spec
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
    def warm_count(self) -> int:
        """One, when warm."""
        return int(self.warm)

    @property
    def capacity(self) -> int:
        """What the test says that was measured."""
        return self.measured if self.warm else 0

    def status(self) -> list[WorkerStatus]:
        """One worker."""
        return [WorkerStatus(0, 4711, self.warm, len(self.callbacks), self.capacity)]

    async def start(self) -> None:
        """Start the queue."""
        self._task = asyncio.create_task(self._work(), name="fake-workers")

    async def wait_ready(self) -> MediaSpec:
        """Warm at once."""
        return self._spec

    async def prepare(
        self, portrait: bytes, box: FaceBox | None = None, *, keep: bool = False
    ) -> IdentityHandle:
        """Take anything but ``BAD_PORTRAIT``."""
        if not self.warm:
            raise NotReady()
        if portrait == BAD_PORTRAIT:
            raise PortraitError("expected one face, got none", code="no_face")
        self.prepared += 1
        self.boxes.append(box)
        return IdentityHandle(0, content_hash(portrait, box), self.report)

    async def open(
        self,
        session: str,
        identity: IdentityHandle,
        callbacks: ChunkCallbacks,
        *,
        seed: int = 0,
        disclosure: bool = False,
    ) -> FakeStream:
        """Remember the callbacks."""
        self.disclosed[session] = disclosure
        self.callbacks[session] = callbacks
        self.seeds[session] = seed
        self.identities[session] = identity
        self.forced.add(session)
        return FakeStream(self, session)

    async def aclose(self) -> None:
        """End the queue."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def lose(self, session: str) -> None:
        """As if the process had crashed."""
        self.callbacks.pop(session).on_lost("worker_lost", "the worker ended")

    async def _work(self) -> None:
        while True:
            session, request = await self.queue.get()
            if request.epoch < self.epochs.get(session, 0):
                continue
            cost = self._cost(request) if callable(self._cost) else self._cost
            self.starts.clear()
            done = self._clock.now() + cost
            given_up = await wait_until(self._clock, self.starts, done) and not any(
                request.speaking
            )
            await self._clock.sleep(0.0 if given_up else done - self._clock.now())
            frames = () if given_up else self._frames(session, request)
            whole = ChunkResult(session, request.epoch, request.sequence, frames, cost, 0.0, 1)
            if self.rest_s is None or given_up:
                self._tell(whole)
                continue
            self._tell(replace(whole, frames=frames[:1], last=False))
            await self._clock.sleep(self.rest_s)
            self._tell(replace(whole, frames=frames[1:], first=1))

    def _tell(self, result: ChunkResult) -> None:
        if callbacks := self.callbacks.get(result.session):
            callbacks.on_chunk(result)

    def _frames(self, session: str, request: ChunkRequest) -> tuple[AVFrame, ...]:
        sound = np.frombuffer(request.sound, np.int16).reshape(self._spec.chunk_frames, -1)
        frames = []
        for k, piece in enumerate(sound):
            keyframe = session in self.forced or (request.keyframe and k == 0)
            self.forced.discard(session)
            picture = f"{session} {request.sequence} {k}".encode()
            frames.append(
                AVFrame(
                    epoch=request.epoch,
                    index=request.first_index + k,
                    keyframe=keyframe,
                    speaking=request.speaking[k],
                    video=picture,
                    opus=(b"opus", b"opus"),
                    pcm=piece.tobytes(),
                    jpeg=b"jpeg " + picture if request.jpeg else b"",
                    vp8=picture if "vp8" in request.codecs else b"",
                )
            )
        return tuple(frames)


def features_of(request: ChunkRequest, spec: MediaSpec = SPEC) -> NDArray[np.float32]:
    """The audio that the model gets with a request, float32 [F + L, samples]."""
    return np.frombuffer(request.features, np.float32).reshape(spec.needed_frames, -1)
