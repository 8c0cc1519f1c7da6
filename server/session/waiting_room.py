"""Callers that wait for a place: bounded, first come first served, each told its place."""

from __future__ import annotations

from collections import deque

from server.session.request import SessionRequest
from server.session.session import Session


class WaitingRoom:
    """The queue before the places of one server."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._queue: deque[tuple[Session, SessionRequest]] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Whether nobody else may wait."""
        return len(self._queue) >= self._places

    def enter(self, session: Session, request: SessionRequest) -> None:
        """Wait at the end of the queue."""
        self._queue.append((session, request))
        session.wait(len(self._queue))

    def next(self) -> tuple[Session, SessionRequest]:
        """Take who waits longest; those behind move up."""
        first = self._queue.popleft()
        self._tell()
        return first

    def leave(self, session: Session) -> None:
        """Forget a session, if it waits; those behind move up."""
        kept = deque(item for item in self._queue if item[0] is not session)
        if len(kept) < len(self._queue):
            self._queue = kept
            self._tell()

    def _tell(self) -> None:
        for place, (session, _) in enumerate(self._queue, 1):
            if session.place != place:
                session.wait(place)
