"""The states of a session, the moves allowed between them, and their announcement."""

from __future__ import annotations

from enum import Enum

from server.clock import Clock
from server.session import events
from server.session.audience import Audience
from server.session.incoming import FrameTag
from server.session.metrics import SessionMetrics
from server.session.scheduler import ChunkScheduler
from server.session.segments import SegmentTracker
from server.session.trace import SessionTrace


class State(Enum):
    """Where a session is in its life."""

    NEW = "new"
    QUEUED = "queued"  # waits for a place
    READY = "ready"  # prepared; nobody watches
    IDLE = "idle"  # watched; nothing to say
    LISTENING = "listening"  # sound is coming in, none of it is played
    TALKING = "talking"
    CLOSING = "closing"
    CLOSED = "closed"


WATCHED = frozenset({State.IDLE, State.LISTENING, State.TALKING})
ENDED = frozenset({State.CLOSING, State.CLOSED})

_MOVES: dict[State, frozenset[State]] = {
    State.NEW: frozenset({State.QUEUED, State.READY, State.CLOSING}),
    State.QUEUED: frozenset({State.READY, State.CLOSING}),
    State.READY: frozenset({State.IDLE, State.CLOSING}),
    State.IDLE: frozenset({State.LISTENING, State.TALKING, State.READY, State.CLOSING}),
    State.LISTENING: frozenset({State.IDLE, State.TALKING, State.READY, State.CLOSING}),
    State.TALKING: frozenset({State.IDLE, State.LISTENING, State.READY, State.CLOSING}),
    State.CLOSING: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
}


def move(state: State, to: State) -> State:
    """The new state.

    Raises:
        ValueError: the move is not allowed; both states are named.
    """
    if to not in _MOVES[state]:
        allowed = ", ".join(sorted(item.value for item in _MOVES[state])) or "none"
        raise ValueError(f"expected a move from {state.value} to {allowed}; got {to.value}")
    return to


class SessionStatus:
    """The state and the segment that plays; tells the audience what changes."""

    def __init__(
        self,
        scheduler: ChunkScheduler,
        audience: Audience,
        metrics: SessionMetrics,
        clock: Clock,
        trace: SessionTrace | None = None,
    ) -> None:
        self.state = State.NEW
        self._scheduler = scheduler
        self._audience = audience
        self._metrics = metrics
        self._clock = clock
        self._trace = trace or SessionTrace()
        self._tracker = SegmentTracker()

    @property
    def watched(self) -> bool:
        """Whether an output shows pictures."""
        return self.state in WATCHED

    @property
    def ended(self) -> bool:
        """Whether the session ends or has ended."""
        return self.state in ENDED

    def move(self, to: State) -> None:
        """Change the state; raises ValueError when the move is not allowed."""
        self.state = move(self.state, to)

    def announce(self) -> None:
        """Tell the audience the present state."""
        self._audience.event(events.state(self.state.value))

    def play(self, tag: FrameTag) -> None:
        """Announce the segments and the state that change with the frame that is due now."""
        for name, segment, position_ms in self._tracker.play(tag):
            if name == "started":
                self._metrics.started(self._clock.now(), segment.asked_at)
            else:
                self._trace.segment(segment, self._clock.now(), name, position_ms)
            self._audience.event(events.playback(name, segment.name, position_ms))
        self.refresh()

    def clear(self) -> None:
        """Announce that the segment that plays, if one does, goes no further."""
        for name, segment, position_ms in self._tracker.end("cleared"):
            self._trace.segment(segment, self._clock.now(), name, position_ms)
            self._audience.event(events.playback(name, segment.name, position_ms))

    def refresh(self) -> None:
        """Move between idle, listening and talking as what is queued and played says."""
        if not self.watched:
            return
        quiet = State.IDLE if self._scheduler.empty else State.LISTENING
        state = State.TALKING if self._tracker.current is not None else quiet
        if state is not self.state:
            self.move(state)
            self.announce()
