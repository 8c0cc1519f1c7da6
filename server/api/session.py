"""GET and DELETE /session/{session_id}, and the interrupt."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from server.api.deps import TOKEN_REQUIRED, SessionDep, SessionId, context_of, find_session
from server.api.openapi import problems
from server.api.schemas import Interrupted, SessionNumbers, SessionShown
from server.errors import NotFound, Unauthorised

router = APIRouter(dependencies=TOKEN_REQUIRED)


@router.get("/session/{session_id}", responses=problems(Unauthorised, NotFound))
async def show(session: SessionDep) -> SessionShown:
    """The session's state and numbers."""
    return SessionShown(
        session_id=session.id,
        status=session.state.value,
        queue_position=session.place,
        mode=session.mode,
        avatar_id=session.avatar_id,
        generation=session.epoch,
        metrics=SessionNumbers(**session.snapshot()),
    )


@router.delete(
    "/session/{session_id}",
    status_code=204,
    response_class=Response,
    responses=problems(Unauthorised),
)
async def end(request: Request, session_id: SessionId) -> None:
    """End a session; one that has already ended is fine too."""
    try:
        session = find_session(request, session_id)
    except NotFound:
        return
    await context_of(request).sessions.close(session, "deleted")


@router.post(
    "/session/{session_id}/keepalive",
    status_code=204,
    response_class=Response,
    responses=problems(Unauthorised, NotFound),
)
async def keep_alive(session: SessionDep) -> None:
    """Keep a session that nobody is attached to: the time until it ends begins anew."""
    session.keep_alive()


@router.post(
    "/session/{session_id}/interrupt",
    status_code=202,
    responses=problems(Unauthorised, NotFound),
)
async def interrupt(session: SessionDep) -> Interrupted:
    """Stop speaking now and drop everything that is queued."""
    return Interrupted(generation=session.interrupt())
