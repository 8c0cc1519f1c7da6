"""All open sessions: admits callers up to the limit, finds sessions, ends them.

A session counts from the moment its creation begins, so callers that arrive together cannot exceed
the limit. Whoever comes at the limit is refused at once; the open sessions do not notice.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from datetime import UTC, datetime, timedelta

from models.io.face_box import FaceBox
from server.clock import Clock
from server.errors import NoCapacity, NotFound, NotReady, Unauthorised
from server.session.lifetime import Limits
from server.session.session import Mode, Session
from server.session.workers import Workers
from server.settings import Settings

log = logging.getLogger(__name__)

RETRY_AFTER_S = 10


class SessionRegistry:
    """The sessions of one server."""

    def __init__(self, settings: Settings, workers: Workers, clock: Clock) -> None:
        self._settings = settings
        self._workers = workers
        self._clock = clock
        self._open: dict[str, Session] = {}
        self._opening = 0
        self._ending: set[asyncio.Task[None]] = set()
        self._stopped = False

    def __len__(self) -> int:
        return len(self._open)

    @property
    def limit(self) -> int:
        """Sessions at once: as set, else what the warm workers measured; 0 while none is warm."""
        return self._settings.max_sessions or self._workers.capacity

    async def create(
        self,
        portrait: bytes,
        *,
        mode: Mode,
        avatar_id: str | None = None,
        box: FaceBox | None = None,
        listening: bool = True,
    ) -> Session:
        """Prepare the portrait and open a session for it; ``box`` chooses a face in it.

        ``listening`` lets it nod to its caller, where the settings do too.

        Raises:
            NoCapacity: the limit is reached.
            NotReady: no warm worker.
            PortraitError: the picture cannot be used.
            WorkerLost: the worker ended meanwhile.
        """
        self.check_capacity()
        self._opening += 1
        try:
            return await self._begin(portrait, mode, avatar_id, box, listening)
        finally:
            self._opening -= 1

    def check_capacity(self) -> None:
        """Refuse when nothing is warm (NotReady) or the limit is reached (NoCapacity)."""
        if not self._workers.ready:
            raise NotReady()
        limit, used = self.limit, len(self._open) + self._opening
        if self._stopped or used >= limit:
            raise NoCapacity(
                f"expected one of {limit} places to be free, got none; try again later",
                retry_after_s=RETRY_AFTER_S,
            )

    def find(self, session_id: str, token: str | None) -> Session:
        """The session, if the token is its own.

        Raises:
            NotFound: there is no such session.
            Unauthorised: the token is missing or wrong.
        """
        session = self._open.get(session_id)
        if session is None:
            raise NotFound("expected an open session, got an unknown id; create a session")
        if token is None or not session.admits(token):
            raise Unauthorised(
                "expected this session's token, got none or a wrong one; send the token of"
                " POST /session as a Bearer token"
            )
        return session

    def check_key(self, key: str | None) -> None:
        """Let only holders of the API key create sessions, when one is set.

        Raises:
            Unauthorised: the key is missing or wrong.
        """
        expected = self._settings.api_key.get_secret_value()
        if expected and not hmac.compare_digest((key or "").encode(), expected.encode()):
            raise Unauthorised(
                "expected the server's API key, got none or a wrong one; send it as a Bearer token"
            )

    def expiry(self) -> str:
        """When a session that begins now ends at the latest, ISO 8601, UTC."""
        end = datetime.now(UTC) + timedelta(seconds=self._settings.max_duration_s)
        return end.isoformat(timespec="seconds")

    async def close(self, session: Session, reason: str) -> None:
        """End a session and remove it."""
        try:
            await session.aclose(reason)
        finally:
            self._open.pop(session.id, None)

    async def aclose(self, reason: str = "shutdown") -> None:
        """End every session and admit no more."""
        self._stopped = True
        for session in list(self._open.values()):
            self._retire(session, reason)
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def _begin(
        self,
        portrait: bytes,
        mode: Mode,
        avatar_id: str | None,
        box: FaceBox | None,
        listening: bool,
    ) -> Session:
        identity = await self._workers.prepare(portrait, box)
        spec = self._workers.spec
        if spec is None:
            raise NotReady()
        settings = self._settings
        limits = Limits(
            settings.idle_timeout_s, settings.max_duration_s, settings.closing_warning_s
        )
        session = Session(
            self._workers,
            spec,
            self._clock,
            self._retire,
            mode=mode,
            avatar_id=avatar_id,
            limits=limits,
            listening=listening and settings.listening,
        )
        await session.open(identity)
        self._open[session.id] = session
        log.info("session %s opens: mode %s, %d open", session.short_id, mode, len(self._open))
        return session

    def _retire(self, session: Session, reason: str) -> None:
        """End a session from one of its own tasks, which cannot wait for itself."""
        task = asyncio.create_task(self.close(session, reason), name=f"close-{session.short_id}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
