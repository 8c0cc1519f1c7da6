"""Workers as processes of this machine: place sessions, route chunks, restart what crashed.

A session lives on the process that opened it. When that process ends, its sessions are told so
(their model state is gone with it), callers that wait for an answer get ``WorkerLost``, and a new
process is started after a pause that doubles while starts keep failing. A process that is hung
(``server/worker/timeouts.py``) is killed, which ends like any crash.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

from models.errors import LiveheadError, PortraitError
from server.clock import Clock, SystemClock, wait_until
from server.errors import NotReady, ServerError, WorkerLost
from server.media.spec import MediaSpec
from server.session.workers import ChunkCallbacks
from server.worker import messages as wire
from server.worker.link import WorkerLink
from server.worker.messages import ChunkRequest, WorkerConfig
from server.worker.timeouts import CHECK_S, InFlight, Timeouts

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
LOST = "the process that made this session's pictures ended; create a new session"


@dataclass
class _Place:
    """One process and what depends on it."""

    number: int
    link: WorkerLink | None = None
    warm: bool = False
    room: int = 0
    pause_s: float = FIRST_PAUSE_S
    sinks: dict[str, ChunkCallbacks] = field(default_factory=dict)
    requests: dict[int, asyncio.Future[Any]] = field(default_factory=dict)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    debts: InFlight = field(default_factory=InFlight)


class LocalWorkers:
    """Implements ``Workers`` with ``count`` spawned processes."""

    def __init__(
        self,
        config: WorkerConfig,
        count: int = 1,
        clock: Clock | None = None,
        patience: Timeouts | None = None,
    ) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._patience = patience or Timeouts()
        self._places = [_Place(number) for number in range(count)]
        self._homes: dict[str, _Place] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._spec: MediaSpec | None = None
        self._refusal: str | None = None
        self._changed = asyncio.Event()
        self._requests = 0

    @property
    def spec(self) -> MediaSpec | None:
        """What the workers make; None until the first was warm."""
        return self._spec

    @property
    def ready(self) -> bool:
        """Whether any process is warm."""
        return any(place.warm for place in self._places)

    @property
    def room(self) -> int:
        """Sessions that the warm processes serve at once in real time, as each measured."""
        return sum(place.room for place in self._places if place.warm)

    @property
    def pids(self) -> list[int]:
        """Process ids of the living workers."""
        pids = [place.link.pid for place in self._places if place.link is not None]
        return [pid for pid in pids if pid is not None]

    async def start(self) -> None:
        """Start a keeper for each place; returns before they are warm."""
        self._keepers = [
            asyncio.create_task(self._keep(place), name=f"worker-keeper-{place.number}")
            for place in self._places
        ]

    async def wait_ready(self) -> MediaSpec:
        """Return once a worker is warm; raises WorkerLost when the model cannot be loaded."""
        while not self.ready or self._spec is None:
            if self._refusal is not None:
                raise WorkerLost(self._refusal, code="bad_model")
            self._changed.clear()
            await self._changed.wait()
        return self._spec

    async def prepare(self, portrait: bytes) -> str:
        """Prepare on the warm process with the fewest sessions; the name remembers which."""
        place = self._emptiest()
        prepared = await self._ask(place, lambda request: wire.Prepare(request, portrait))
        return f"{place.number}:{prepared.identity}"

    async def open(
        self, session: str, identity: str, sink: ChunkCallbacks, *, seed: int = 0
    ) -> None:
        """Open on the process that prepared the identity."""
        number, _, name = identity.partition(":")
        place = self._places[int(number)]
        place.sinks[session] = sink
        self._homes[session] = place
        try:
            await self._ask(place, lambda request: wire.Open(request, session, name, seed))
        except BaseException:
            await self.close(session)
            raise

    async def submit(self, session: str, job: ChunkRequest) -> None:
        """Send one job to the session's process."""
        if place := self._tell(session, wire.Submit(session, job)):
            place.debts.submit(session, job, self._clock.now())

    async def interrupt(self, session: str, generation: int) -> None:
        """Drop what is older than ``generation`` on the session's process."""
        if place := self._tell(session, wire.Interrupt(session, generation)):
            place.debts.drop(session, before=generation)

    async def keyframe(self, session: str) -> None:
        """Ask the session's process for a keyframe."""
        self._tell(session, wire.Keyframe(session))

    async def close(self, session: str) -> None:
        """Forget a session here and there; its sink is not called again."""
        self._tell(session, wire.Close(session))
        place = self._homes.pop(session, None)
        if place is not None:
            place.sinks.pop(session, None)
            place.debts.drop(session)

    async def aclose(self) -> None:
        """End the keepers, and with them every process."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._keepers = []

    def _tell(self, session: str, message: wire.Request) -> _Place | None:
        """Send to the session's process, if it lives; which that was."""
        place = self._homes.get(session)
        if place is None or not place.warm or place.link is None:
            return None
        place.link.send(message)
        return place

    def _emptiest(self) -> _Place:
        warm = [place for place in self._places if place.warm]
        if not warm:
            raise NotReady()
        return min(warm, key=lambda place: len(place.sinks) + len(place.requests))

    async def _ask(self, place: _Place, make: Any) -> Any:
        if not place.warm or place.link is None:
            raise WorkerLost("the worker ended under the request; try again", retry_after_s=2)
        self._requests += 1
        number = self._requests
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        place.requests[number] = answer
        place.debts.ask(number, self._clock.now())
        try:
            place.link.send(make(number))
            return await answer
        finally:
            place.requests.pop(number, None)
            place.debts.answered(number)

    async def _keep(self, place: _Place) -> None:
        """Keep one process alive until cancelled."""
        while True:
            place.ended.clear()
            link = WorkerLink(
                self._config,
                on_message=lambda reply: self._receive(place, reply),
                on_end=place.ended.set,
            )
            place.link = link
            try:
                await link.start()
                await self._watch(place, link)
                log.warning("worker %d ended; starting another", place.number)
            except (OSError, RuntimeError) as error:
                log.error("worker %d cannot be started: %s; trying again", place.number, error)
            finally:
                self._lose(place)
                await asyncio.shield(link.aclose())
            await self._clock.sleep(place.pause_s)
            place.pause_s = min(LONGEST_PAUSE_S, place.pause_s * 2)

    async def _watch(self, place: _Place, link: WorkerLink) -> None:
        """Return when the process has ended, or was killed since it is hung."""
        while not await wait_until(self._clock, place.ended, self._clock.now() + CHECK_S):
            if owed := place.debts.overdue(self._clock.now()):
                log.error("worker %d is hung: it owes %s; killing it", place.number, owed)
                link.kill()
                return

    def _lose(self, place: _Place) -> None:
        """Tell everybody who depends on a process that it is gone."""
        place.warm = False
        place.link = None
        place.debts = InFlight()
        sinks, place.sinks = place.sinks, {}
        for session, sink in sinks.items():
            self._homes.pop(session, None)
            sink.lost("worker_lost", LOST)
        for answer in place.requests.values():
            if not answer.done():
                error = WorkerLost("the worker ended under the request; try again", retry_after_s=2)
                answer.set_exception(error)
        self._changed.set()

    def _receive(self, place: _Place, reply: wire.Reply) -> None:
        match reply:
            case wire.ChunkResult(session=session, sequence=sequence):
                place.debts.made(session, sequence, self._clock.now())
                if sink := place.sinks.get(session):
                    sink.made(reply)
            case wire.StreamFailed(session=session, code=code, message=message):
                place.debts.drop(session)
                if sink := place.sinks.pop(session, None):
                    self._homes.pop(session, None)
                    sink.lost(code, message)
            case wire.Ready():
                self._begin(place, reply)
            case wire.Failed(request=wire.START_REQUEST, message=message):
                self._refusal = message
                self._changed.set()
            case wire.Failed(request=request):
                self._resolve(place, request, error=_error_of(reply))
            case wire.PortraitPrepared(request=request) | wire.Opened(request=request):
                self._resolve(place, request, reply)

    def _begin(self, place: _Place, ready: wire.Ready) -> None:
        """A process is warm. One that replaces another measured beside sessions that ran."""
        self._spec, self._refusal = ready.spec, None
        place.warm, place.pause_s = True, FIRST_PAUSE_S
        place.room = max(place.room, ready.sessions)
        place.debts.patience = self._patience.measured(self._config.max_batch * ready.alone_s)
        chunk_s = ready.spec.chunk_frames * ready.spec.frame_s
        tell = log.warning if ready.alone_s > chunk_s else log.info
        tell(
            "worker %d is warm: one session's chunk of %.0f ms takes %.0f ms; room for %d",
            *(place.number, 1000 * chunk_s, 1000 * ready.alone_s, place.room),
        )
        self._changed.set()

    def _resolve(
        self, place: _Place, request: int, reply: Any = None, error: Exception | None = None
    ) -> None:
        answer = place.requests.get(request)
        if answer is None or answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(reply)


def _error_of(failed: wire.Failed) -> LiveheadError:
    if failed.portrait:
        return PortraitError(failed.message, code=failed.code)
    return ServerError(failed.message, code=failed.code)
