"""All open sessions: admits callers up to the limit, finds sessions, ends them.

A session counts from the moment its creation begins, so callers that arrive together cannot exceed
the limit. Whoever comes at the limit waits in a bounded queue where the settings have one, and is
refused at once otherwise; the open sessions do not notice.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any

from models.errors import LiveheadError
from server.clock import Clock
from server.errors import (
    INTERNAL_CODE,
    NoCapacity,
    NotFound,
    NotReady,
    TooManySessions,
    Unauthorised,
    status_of,
)
from server.session import events
from server.session.lifetime import Limits
from server.session.request import NOBODY, Owner, SessionRequest
from server.session.session import Session
from server.session.tokens import Use
from server.session.waiting_room import WaitingRoom
from server.session.workers import IdentityHandle, Workers
from server.settings import Settings
from server.telemetry.telemetry import Telemetry

log = logging.getLogger(__name__)

RETRY_AFTER_S = 10
QUEUE_TICK_S = 1.0  # how often places are looked for that no session left, such as a new worker's
DRAIN_TICK_S = 0.1


class SessionRegistry:
    """The sessions of one server."""

    def __init__(
        self,
        settings: Settings,
        workers: Workers,
        clock: Clock,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._settings = settings
        self._telemetry = telemetry or Telemetry()
        self._workers = workers
        self._clock = clock
        self._sessions: dict[str, Session] = {}  # open ones and those that wait
        self._opening: set[Session] = set()  # those to come, which have a place already
        self._room = WaitingRoom(settings.queue)
        self._watcher: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False
        self._refuses = False

    def __len__(self) -> int:
        """Sessions that are open."""
        return len(self._sessions) - len(self._room)

    @property
    def waiting(self) -> int:
        """Callers that wait for a place."""
        return len(self._room)

    @property
    def free(self) -> int:
        """Places that nobody has."""
        return max(0, self.limit - self._taken)

    def states(self) -> Counter[str]:
        """How many sessions are in which state; those that are being opened are new."""
        return Counter(session.state.value for session in self._known())

    @property
    def stopped(self) -> bool:
        """Whether the server admits nobody any more."""
        return self._stopped or self._refuses

    @property
    def limit(self) -> int:
        """Sessions at once: as set, else what the warm workers measured; 0 while none is warm."""
        return self._settings.max_sessions or self._workers.capacity

    async def create(self, request: SessionRequest) -> Session:
        """Prepare the portrait and open a session for it, or let it wait for a place.

        Raises:
            NoCapacity: the limit is reached and nobody else may wait, or the server ends.
            TooManySessions: the caller has as many as it may.
            NotReady: no warm worker.
            PortraitError: the picture cannot be used.
            WorkerLost: the worker ended meanwhile.
        """
        self.check_capacity(request.owner)
        session = self._new(request)
        spans = self._telemetry.spans
        with spans.span("session.create", session=session.short_id, mode=request.mode) as span:
            session.trace.root = span
            await self._admit(session, request)
        self._telemetry.instruments.accepted.inc()
        return session

    async def _admit(self, session: Session, request: SessionRequest) -> None:
        """Open the session, or let it wait."""
        if self._full:
            self._sessions[session.id] = session
            self._room.enter(session, request)
            if self._watcher is None or self._watcher.done():
                self._watcher = self._start(self._watch_queue(), "queue")
            told = {"session": session.short_id, "waiting": len(self._room)}
            log.info(
                "session %s waits: %d in the queue", session.short_id, len(self._room), extra=told
            )
            return
        self._opening.add(session)
        try:
            await self._open(session, request)
        except BaseException:
            self._give_up(session)
            raise

    def check_capacity(self, owner: Owner = NOBODY) -> None:
        """Refuse when nothing is warm (NotReady), all is taken or ends (NoCapacity), or the caller
        has as many sessions as it may (TooManySessions)."""
        self.check_goes_on()
        if not self._workers.ready:
            raise NotReady()
        if self._full and self._room.full:
            raise NoCapacity(
                f"expected one of {self.limit} places to be free, got none; try again later",
                retry_after_s=RETRY_AFTER_S,
            )

        mine = sum(session.owner.name == owner.name for session in self._known())
        if owner.max_sessions and mine >= owner.max_sessions:
            raise TooManySessions(
                f"expected at most {owner.max_sessions} sessions at once, got one more; end one",
                retry_after_s=RETRY_AFTER_S,
            )

    def check_goes_on(self) -> None:
        """Refuse (NoCapacity, ``shutting_down``) when the server ends."""
        if self.stopped:
            raise NoCapacity(
                "expected a server that goes on, got one that shuts down; try again later",
                code="shutting_down",
                retry_after_s=RETRY_AFTER_S,
            )

    def find(
        self, session_id: str, token: str | None, use: Use | None = None, call: str = ""
    ) -> Session:
        """The session, if the token is its own, or one for one use that is good for this.

        Raises:
            NotFound: there is no such session.
            Unauthorised: the token is missing or wrong.
        """
        session = self.named(session_id)
        if token is None or not session.admits(token, use, call):
            raise Unauthorised(
                "expected this session's token, got none or a wrong one; send the token of"
                " POST /session as a Bearer token"
            )
        return session

    def all(self) -> list[Session]:
        """Every session, open or waiting, the oldest first."""
        return sorted(self._sessions.values(), key=lambda session: -session.age_s)

    def refuse_more(self) -> None:
        """Admit no more; open sessions, and those that wait, go on."""
        self._refuses = True

    def find_of(self, session_id: str, owner: Owner) -> Session:
        """The session, if its owner is this one.

        Raises:
            NotFound: there is no such session.
            Unauthorised: another key opened it.
        """
        session = self.named(session_id)
        if session.owner.name != owner.name:
            raise Unauthorised("expected the key that opened this session, got another")
        return session

    def named(self, session_id: str) -> Session:
        """The session, whoever asks; raises NotFound."""
        session = self._sessions.get(session_id)
        if session is None:
            raise NotFound("expected an open session, got an unknown id; create a session")
        return session

    async def close(self, session: Session, reason: str) -> None:
        """End a session and remove it; whoever waits longest gets its place."""
        try:
            await session.aclose(reason)
        finally:
            self._room.leave(session)
            self._give_up(session)

    async def drain(self) -> None:
        """Admit no more, warn everybody, and let sentences end that are being spoken."""
        self._stopped = True
        patience_s = self._settings.drain_s
        for session in self._sessions.values():
            session.warn("shutdown", patience_s)
        ends_at = self._clock.now() + patience_s
        while self._clock.now() < ends_at and any(s.speaks for s in self._sessions.values()):
            await self._clock.sleep(DRAIN_TICK_S)

    async def aclose(self, reason: str = "shutdown") -> None:
        """End every session and admit no more."""
        self._stopped = True
        for session in list(self._sessions.values()):
            self._retire(session, reason)
        if self._watcher is not None:
            self._watcher.cancel()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def _taken(self) -> int:
        """Places of sessions that are open or to come."""
        return len(self) + len(self._opening)

    @property
    def _full(self) -> bool:
        """Whether a newcomer must wait: no place is free, or others came before."""
        return self._taken >= self.limit or len(self._room) > 0

    def _known(self) -> list[Session]:
        """Every session: open, waiting, or to come."""
        return [*self._sessions.values(), *self._opening]

    def _new(self, request: SessionRequest) -> Session:
        spec = self._workers.spec
        if spec is None:
            raise NotReady()
        settings = self._settings
        return Session(
            self._workers,
            spec,
            self._clock,
            self._retire,
            mode=request.mode,
            avatar_id=request.avatar_id,
            owner=request.owner,
            limits=Limits(
                settings.idle_timeout_s,
                settings.resume_s,
                settings.max_duration_s,
                settings.closing_warning_s,
            ),
            listening=request.listening and settings.listening,
            telemetry=self._telemetry,
            disclosure=request.disclosure or settings.disclosure,
        )

    async def _open(self, session: Session, request: SessionRequest) -> None:
        with self._telemetry.spans.span(
            "session.prepare", session.trace.root, session=session.short_id
        ):
            identity = await self._prepare(request)
        await session.open(identity)
        self._opening.discard(session)
        self._sessions[session.id] = session
        told = {"session": session.short_id, "mode": session.mode, "open": len(self)}
        log.info(
            "session %s opens: mode %s, %d open",
            session.short_id,
            session.mode,
            len(self),
            extra=told,
        )

    async def _prepare(self, request: SessionRequest) -> IdentityHandle:
        keep = request.avatar_id is not None  # of others' portraits nothing stays
        return await self._workers.prepare(request.portrait, request.box, keep=keep)

    def _give_up(self, session: Session) -> None:
        """Forget a session; its place is free."""
        self._sessions.pop(session.id, None)
        self._opening.discard(session)
        self._move_up()

    def _move_up(self) -> None:
        """Give free places to those who wait."""
        while self._room and self._taken < self.limit and not self._stopped:
            session, request = self._room.next()
            self._start(self._open_waiting(session, request), f"open-{session.short_id}")

    async def _open_waiting(self, session: Session, request: SessionRequest) -> None:
        try:
            await self._open(session, request)
        except LiveheadError as error:
            if not session.ended:
                ours = status_of(error) >= HTTPStatus.INTERNAL_SERVER_ERROR
                session.tell(events.error(error.code, str(error), ours=ours))
            self._retire(session, error.code)
        except Exception:
            told = {"session": session.short_id}
            log.exception("session %s could not open", session.short_id, extra=told)
            self._retire(session, INTERNAL_CODE)

    async def _watch_queue(self) -> None:
        """Look for places that no session left, as long as somebody waits."""
        while self._room and not self._stopped:
            await self._clock.sleep(QUEUE_TICK_S)
            self._move_up()

    def _retire(self, session: Session, reason: str) -> None:
        """End a session from one of its own tasks, which cannot wait for itself."""
        self._start(self.close(session, reason), f"close-{session.short_id}")

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
