"""The states of a session and the moves that are allowed between them."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """Where a session is in its life."""

    NEW = "new"
    READY = "ready"  # prepared; nobody watches
    IDLE = "idle"  # watched; nothing to say
    LISTENING = "listening"  # sound is coming in, none of it is played
    TALKING = "talking"
    CLOSING = "closing"
    CLOSED = "closed"


WATCHED = frozenset({State.IDLE, State.LISTENING, State.TALKING})
ENDED = frozenset({State.CLOSING, State.CLOSED})

_MOVES: dict[State, frozenset[State]] = {
    State.NEW: frozenset({State.READY, State.CLOSING}),
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
