"""What routes are given: the parts of the running server, and the token a request carries."""

from __future__ import annotations

from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from starlette.requests import HTTPConnection

from server.assets import BundledAssets
from server.session.registry import SessionRegistry
from server.session.session import Session
from server.session.workers import Workers
from server.settings import Settings
from server.webrtc.peer import Peer


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of one application; ``calls`` is each session's last WebRTC call."""

    settings: Settings
    workers: Workers
    sessions: SessionRegistry
    catalogue: BundledAssets
    calls: WeakKeyDictionary[Session, Peer] = field(default_factory=WeakKeyDictionary)


def context_of(connection: HTTPConnection) -> Context:
    """The parts behind the request or socket."""
    context: Context = connection.app.state.context
    return context


def bearer_of(connection: HTTPConnection) -> str | None:
    """The Bearer token of the header, or None."""
    kind, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None


def token_of(connection: HTTPConnection) -> str | None:
    """The Bearer token of the header, or ``?token=`` where headers are impossible."""
    return bearer_of(connection) or connection.query_params.get("token")
