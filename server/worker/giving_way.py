"""Ends a model call for idle pictures when speech starts: nobody would see them.

Speech that starts makes the idle frames before it useless, and would wait for the call that makes
them. A call is given up if speech came for all of its streams, and if it has not run for long: what
is nearly done is finished, so that the picture goes on until the speech is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from server.worker import messages as wire

ABANDON_S = 0.06


class Abandoned(Exception):
    """Ends a model call."""


class GivingWay:
    """What one worker's model call looks at while it runs."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._starting: set[str] = set()
        self._idle: frozenset[str] = frozenset()
        self._began = 0.0

    def see(self, message: wire.Request) -> None:
        """Look at a message before it is queued; from any thread."""
        if isinstance(message, wire.Submit) and message.chunk.starts:
            self._starting.add(message.session)

    def forget(self) -> None:
        """Everything that was seen is about to be taken from the queue."""
        self._starting.clear()

    def begin(self, idle_sessions: Iterable[str]) -> None:
        """A call begins, for idle pictures of these sessions alone; of none if it is for others."""
        self._idle = frozenset(idle_sessions)
        self._began = self._clock()

    def check(self) -> None:
        """Raise ``Abandoned`` if the call is of no use any more."""
        waited_for = self._idle and self._starting >= self._idle
        if waited_for and self._clock() - self._began < ABANDON_S:
            raise Abandoned
