"""Workers as processes of this machine: place sessions, route chunks, restart what crashed.

A session lives on the process that opened it. When that process ends, its sessions get ``on_lost``
(their model state is gone with it), callers that wait for an answer get ``WorkerLost``, and a new
process is started after a pause that doubles while starts keep failing. A process that is hung
(``server/worker/timeouts.py``) is killed, which ends like any crash.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from models.errors import LiveheadError, PortraitError
from models.io.face_box import FaceBox
from server.clock import Clock, SystemClock, wait_until
from server.errors import NotReady, ServerError, WorkerLost
from server.media.spec import MediaSpec
from server.session.workers import (
    ChunkCallbacks,
    ChunkRequest,
    ChunkResult,
    IdentityHandle,
    WorkerStatus,
)
from server.worker import messages as wire
from server.worker.link import WorkerLink
from server.worker.messages import WorkerConfig
from server.worker.timeouts import CHECK_S, InFlight, Timeouts

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
LOST = "the process that made this session's pictures ended; create a new session"

_Answer = wire.PortraitPrepared | wire.Opened


@dataclass
class WorkerSlot:
    """One process, which is replaced when it ends, and what depends on it."""

    number: int
    link: WorkerLink | None = None
    warm: bool = False
    capacity: int = 0
    failed: bool = False
    pause_s: float = FIRST_PAUSE_S
    streams: dict[str, LocalStream] = field(default_factory=dict)
    requests: dict[int, asyncio.Future[_Answer]] = field(default_factory=dict)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    in_flight: InFlight = field(default_factory=InFlight)


class LocalStream:
    """Implements ``WorkerStreamHandle``: one session's stream on the process of a slot."""

    def __init__(
        self, slot: WorkerSlot, session: str, callbacks: ChunkCallbacks, clock: Clock
    ) -> None:
        self.callbacks = callbacks
        self._slot = slot
        self._session = session
        self._clock = clock

    def submit(self, request: ChunkRequest) -> None:
        """Send one request."""
        if self._send(wire.Submit(self._session, request)):
            self._slot.in_flight.submit(self._session, request, self._clock.now())

    def interrupt(self, epoch: int) -> None:
        """Drop what is older than ``epoch``."""
        if self._send(wire.Interrupt(self._session, epoch)):
            self._slot.in_flight.drop(self._session, before=epoch)

    def keyframe(self) -> None:
        """Ask for a keyframe."""
        self._send(wire.Keyframe(self._session))

    def close(self) -> None:
        """Forget the stream here and there; its callbacks are not called again."""
        self._send(wire.Close(self._session))
        if self._slot.streams.get(self._session) is self:
            del self._slot.streams[self._session]
            self._slot.in_flight.drop(self._session)

    def _send(self, message: wire.Request) -> bool:
        """Send to the process, if the stream still lives there; whether it does."""
        slot = self._slot
        if slot.streams.get(self._session) is not self or not slot.warm or slot.link is None:
            return False
        slot.link.send(message)
        return True


class LocalWorkers:
    """Implements ``Workers`` with spawned processes."""

    def __init__(
        self,
        config: WorkerConfig,
        count: int = 0,
        clock: Clock | None = None,
        timeouts: Timeouts | None = None,
        on_restart: Callable[[], None] = lambda: None,
    ) -> None:
        """Nothing is started yet.

        Args:
            config: of every process.
            count: of processes; 0 is as many as the first one finds useful.
            clock: what waits, and times out.
            timeouts: after which a process counts as hung.
            on_restart: called for each process that takes the place of another.
        """
        self._config = config
        self._on_restart = on_restart
        self._clock = clock or SystemClock()
        self._timeouts = timeouts or Timeouts()
        self._slots = [WorkerSlot(number) for number in range(max(1, count))]
        self._count = count
        self._supervisors: list[asyncio.Task[None]] = []
        self._spec: MediaSpec | None = None
        self._refusal: str | None = None
        self._changed = asyncio.Event()
        self._last_request_id = 0

    @property
    def spec(self) -> MediaSpec | None:
        """What the workers make; None until the first was warm."""
        return self._spec

    @property
    def ready(self) -> bool:
        """Whether any process is warm."""
        return any(slot.warm for slot in self._slots)

    @property
    def _settled(self) -> bool:
        return self.ready and all(slot.warm or slot.failed for slot in self._slots)

    @property
    def warm_count(self) -> int:
        """Processes that are warm."""
        return sum(slot.warm for slot in self._slots)

    @property
    def capacity(self) -> int:
        """Sessions that the warm processes serve at once in real time, as each measured."""
        return sum(slot.capacity for slot in self._slots if slot.warm)

    @property
    def pids(self) -> list[int]:
        """Process ids of the living workers."""
        pids = [slot.link.pid for slot in self._slots if slot.link is not None]
        return [pid for pid in pids if pid is not None]

    def status(self) -> list[WorkerStatus]:
        """Every slot."""
        return [
            WorkerStatus(
                slot.number,
                None if slot.link is None else slot.link.pid,
                slot.warm,
                len(slot.streams),
                slot.capacity,
            )
            for slot in self._slots
        ]

    async def start(self) -> None:
        """Start a supervisor for each slot; returns before they are warm."""
        self._supervise_from(0)

    async def wait_ready(self) -> MediaSpec:
        """Return once every worker is warm, or one is and others failed.

        Raises:
            WorkerLost: the model cannot be loaded.
        """
        while self._spec is None or not self._settled:
            if self._refusal is not None:
                raise WorkerLost(self._refusal, code="bad_model")
            self._changed.clear()
            await self._changed.wait()
        return self._spec

    async def prepare(
        self, portrait: bytes, box: FaceBox | None = None, *, keep: bool = False
    ) -> IdentityHandle:
        """Prepare on the warm process with the fewest sessions."""
        slot = self._least_busy()
        answer = await self._ask(
            slot, lambda request_id: wire.Prepare(request_id, portrait, box, keep)
        )
        assert isinstance(answer, wire.PortraitPrepared)
        return IdentityHandle(slot.number, answer.content_hash, answer.report)

    async def open(
        self,
        session: str,
        identity: IdentityHandle,
        callbacks: ChunkCallbacks,
        *,
        seed: int = 0,
        disclosure: bool = False,
    ) -> LocalStream:
        """Open on the process that prepared the identity."""
        slot = self._slots[identity.worker]
        stream = LocalStream(slot, session, callbacks, self._clock)
        slot.streams[session] = stream
        try:
            await self._ask(
                slot,
                lambda request_id: wire.Open(
                    request_id, session, identity.content_hash, seed, disclosure
                ),
            )
        except BaseException:
            stream.close()
            raise
        return stream

    async def aclose(self) -> None:
        """End the supervisors, and with them every process."""
        for supervisor in self._supervisors:
            supervisor.cancel()
        await asyncio.gather(*self._supervisors, return_exceptions=True)
        self._supervisors = []

    def _least_busy(self) -> WorkerSlot:
        warm = [slot for slot in self._slots if slot.warm]
        if not warm:
            raise NotReady()
        return min(warm, key=lambda slot: len(slot.streams) + len(slot.requests))

    async def _ask(self, slot: WorkerSlot, message_of: Callable[[int], wire.Request]) -> _Answer:
        """Send a request with an id of its own and wait for its answer."""
        if not slot.warm or slot.link is None:
            raise WorkerLost("the worker ended under the request; try again", retry_after_s=2)
        self._last_request_id += 1
        request_id = self._last_request_id
        answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        slot.requests[request_id] = answer
        slot.in_flight.ask(request_id, self._clock.now())
        try:
            slot.link.send(message_of(request_id))
            return await answer
        finally:
            slot.requests.pop(request_id, None)
            slot.in_flight.answered(request_id)

    async def _supervise(self, slot: WorkerSlot) -> None:
        """Keep one process alive until cancelled."""
        while True:
            slot.ended.clear()
            link = WorkerLink(
                self._config,
                on_message=lambda reply: self._receive(slot, reply),
                on_end=slot.ended.set,
            )
            slot.link = link
            try:
                await link.start()
                await self._watch(slot, link)
                log.warning("worker %d ended; starting another", slot.number)
            except (OSError, RuntimeError) as error:
                log.error("worker %d cannot be started: %s; trying again", slot.number, error)
            finally:
                self._on_end(slot)
                await asyncio.shield(link.aclose())
            self._on_restart()
            await self._clock.sleep(slot.pause_s)
            slot.pause_s = min(LONGEST_PAUSE_S, slot.pause_s * 2)

    async def _watch(self, slot: WorkerSlot, link: WorkerLink) -> None:
        """Return when the process has ended, or was killed since it is hung."""
        while not await wait_until(self._clock, slot.ended, self._clock.now() + CHECK_S):
            if late := slot.in_flight.timed_out(self._clock.now()):
                log.error("worker %d is hung: it owes %s; killing it", slot.number, late)
                link.kill()
                return

    def _on_end(self, slot: WorkerSlot) -> None:
        """Tell everybody who depends on a process that it is gone."""
        slot.warm, slot.failed = False, True
        slot.link = None
        slot.in_flight = InFlight()
        streams, slot.streams = slot.streams, {}
        for stream in streams.values():
            stream.callbacks.on_lost("worker_lost", LOST)
        for answer in slot.requests.values():
            if not answer.done():
                error = WorkerLost("the worker ended under the request; try again", retry_after_s=2)
                answer.set_exception(error)
        self._changed.set()

    def _receive(self, slot: WorkerSlot, reply: wire.Reply) -> None:
        match reply:
            case ChunkResult(session=session, sequence=sequence, last=last):
                if last:
                    slot.in_flight.on_chunk(session, sequence, self._clock.now())
                if stream := slot.streams.get(session):
                    stream.callbacks.on_chunk(reply)
            case wire.StreamFailed(session=session, code=code, message=message):
                slot.in_flight.drop(session)
                if stream := slot.streams.pop(session, None):
                    stream.callbacks.on_lost(code, message)
            case wire.WorkerReady():
                self._on_ready(slot, reply)
            case wire.Failed(request_id=wire.START_REQUEST_ID, message=message):
                self._refusal = message
                self._changed.set()
            case wire.Failed(request_id=request_id):
                if answer := self._waiting(slot, request_id):
                    answer.set_exception(_error_of(reply))
            case wire.PortraitPrepared(request_id=request_id) | wire.Opened(request_id=request_id):
                if answer := self._waiting(slot, request_id):
                    answer.set_result(reply)

    def _on_ready(self, slot: WorkerSlot, ready: wire.WorkerReady) -> None:
        """A process is warm. One that replaces another measured beside sessions that ran."""
        self._spec, self._refusal = ready.spec, None
        slot.warm, slot.pause_s = True, FIRST_PAUSE_S
        slot.capacity = max(slot.capacity, ready.sessions)
        full_batch_s = self._config.max_batch * ready.alone_s
        slot.in_flight.timeouts = self._timeouts.measured(full_batch_s)
        chunk_s = ready.spec.chunk_frames * ready.spec.frame_s
        log.log(
            logging.WARNING if ready.alone_s > chunk_s else logging.INFO,
            "worker %d is warm: one session's chunk of %.0f ms takes %.0f ms; room for %d",
            slot.number,
            1000 * chunk_s,
            1000 * ready.alone_s,
            slot.capacity,
        )
        if self._count == 0:
            self._count = ready.useful_workers
            self._slots += [WorkerSlot(number) for number in range(1, self._count)]
            self._supervise_from(1)
        self._changed.set()

    def _supervise_from(self, first: int) -> None:
        """Start supervisors of the slots from a number on."""
        self._supervisors += [
            asyncio.create_task(self._supervise(slot), name=f"worker-supervisor-{slot.number}")
            for slot in self._slots[first:]
        ]

    def _waiting(self, slot: WorkerSlot, request_id: int) -> asyncio.Future[_Answer] | None:
        """The future of a request that still waits for its answer."""
        answer = slot.requests.get(request_id)
        return None if answer is None or answer.done() else answer


def _error_of(failed: wire.Failed) -> LiveheadError:
    if failed.portrait:
        return PortraitError(failed.message, code=failed.code)
    return ServerError(failed.message, code=failed.code)
