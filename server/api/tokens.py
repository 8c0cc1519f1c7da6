"""POST /session/{id}/token: a token that works once, so that a page need not hold the session's."""

from __future__ import annotations

from typing import Annotated, get_args

from fastapi import APIRouter, Query, Request, Response

from server.api.creation import iso_in
from server.api.deps import TOKEN_OR_KEY, ContextDep, SessionId, token_of
from server.api.openapi import problems
from server.api.schemas import OneTimeToken
from server.errors import BadRequest, NotFound, RateLimited, Unauthorised
from server.session.tokens import VALID_S, Scope

router = APIRouter(dependencies=TOKEN_OR_KEY)


@router.post(
    "/session/{session_id}/token",
    status_code=201,
    responses=problems(BadRequest, Unauthorised, NotFound, RateLimited),
)
async def issue(
    request: Request,
    response: Response,
    context: ContextDep,
    session_id: SessionId,
    scope: Annotated[
        Scope | None,
        Query(description="The one thing that it opens; without it, any of the three."),
    ] = None,
) -> OneTimeToken:
    """A token that opens the stream, a call or the events of this session, once, within a minute.

    The session's own token gets one, and so does the API key that opened the session. One that
    opened a call also adds that call's candidates and ends it.
    """
    try:
        session = context.sessions.find(session_id, token_of(request))
    except Unauthorised:
        if not context.settings.asks_for_key:
            raise
        session = context.sessions.find_of(session_id, await context.access.owner_of(request))
    context.access.count(session.owner)
    response.headers["Cache-Control"] = "no-store"
    scopes: tuple[Scope, ...] = (scope,) if scope else get_args(Scope)
    return OneTimeToken(
        token=session.tokens.issue(frozenset(scopes)),
        scopes=list(scopes),
        expires_at=iso_in(VALID_S),
    )
