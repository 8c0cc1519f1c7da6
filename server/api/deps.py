"""Dependencies of routes: the running server's components, and the session that a token opens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path
from fastapi.security import APIKeyQuery, HTTPBearer
from starlette.requests import HTTPConnection

from server.api.access import Access, bearer_of
from server.api.idempotency import IdempotencyKeys
from server.api.remote_portrait import RemotePortraits
from server.assets import BundledAssets
from server.avatars import AvatarStore
from server.media.encoders import usual_bitrate
from server.session.registry import SessionRegistry
from server.session.session import Session
from server.session.tokens import Use
from server.session.workers import Workers
from server.settings import Settings
from server.telemetry.telemetry import Telemetry
from server.webrtc.link_rate import Rates

API_KEY = HTTPBearer(
    scheme_name="ApiKey",
    description="The server's API key, where one is set.",
    auto_error=False,
)
SESSION_TOKEN = HTTPBearer(
    scheme_name="SessionToken",
    description="The token that POST /session answered with, or for the stream, a call and the"
    " events one of POST /session/{session_id}/token.",
    auto_error=False,
)
QUERY_TOKEN = APIKeyQuery(
    name="token",
    scheme_name="SessionTokenInQuery",
    description="The same token, for callers that cannot send headers: a browser's WebSocket on"
    " /session/{session_id}/stream.",
    auto_error=False,
)


@dataclass(frozen=True, slots=True)
class Context:
    """The components of one application."""

    settings: Settings
    access: Access
    workers: Workers
    sessions: SessionRegistry
    assets: BundledAssets
    avatars: AvatarStore
    portraits: RemotePortraits
    idempotency: IdempotencyKeys
    telemetry: Telemetry

    def rates(self, size: tuple[int, int]) -> Rates:
        """Bit/s of pictures of (height, width), as set."""
        settings = self.settings
        cap = settings.bitrate_cap or usual_bitrate(size)
        return Rates(settings.bitrate_start, settings.bitrate_floor, cap)


def context_of(connection: HTTPConnection) -> Context:
    """The components behind the request or socket."""
    context: Context = connection.app.state.context
    return context


def token_of(connection: HTTPConnection) -> str | None:
    """The Bearer token of the header, or ``?token=`` where headers are impossible."""
    return bearer_of(connection) or connection.query_params.get("token")


def find_session(connection: HTTPConnection, session_id: str, use: Use | None = None) -> Session:
    """The open session, if the connection carries its token, or one for one use of this kind.

    Raises:
        NotFound: there is no such session.
        Unauthorised: the token is missing or wrong.
    """
    call = connection.url.path.rpartition(f"/session/{session_id}/")[2]
    return context_of(connection).sessions.find(session_id, token_of(connection), use, call)


def opened(connection: HTTPConnection, session: Session, call: str) -> None:
    """Let the token that opened a call, by its path below the session's, be good for that call."""
    session.tokens.opened(token_of(connection) or "", call)


SessionId = Annotated[str, Path(description="As POST /session answered it.")]


async def _context(connection: HTTPConnection) -> Context:
    return context_of(connection)


async def _session(connection: HTTPConnection, session_id: SessionId) -> Session:
    found: Session | None = getattr(connection.state, "session", None)  # by a route's own check
    return found or find_session(connection, session_id)


async def _listened(connection: HTTPConnection, session_id: SessionId) -> Session:
    return find_session(connection, session_id, "events")


async def _called(connection: HTTPConnection, session_id: SessionId) -> Session:
    return find_session(connection, session_id, "call")


ContextDep = Annotated[Context, Depends(_context)]
SessionDep = Annotated[Session, Depends(_session)]
CalledDep = Annotated[Session, Depends(_called)]
ListenedDep = Annotated[Session, Depends(_listened)]
# Declares how callers prove themselves; ``token_of`` reads it.
TOKEN_REQUIRED = [Depends(SESSION_TOKEN), Depends(QUERY_TOKEN)]
TOKEN_OR_KEY = [*TOKEN_REQUIRED, Depends(API_KEY)]
