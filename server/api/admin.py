"""/admin: what runs on the server, for who runs it; never tokens, portraits or speech."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.security import HTTPBearer

from server.api.deps import ContextDep, context_of
from server.api.openapi import problems
from server.api.schemas import (
    Drained,
    OwnedSession,
    OwnedSessions,
    SessionNumbers,
    WorkerList,
    WorkerShown,
)
from server.errors import NotFound, RateLimited, Unauthorised

ADMIN_KEY = HTTPBearer(
    scheme_name="AdminKey", description="The server's admin key.", auto_error=False
)


async def _admin(request: Request) -> None:
    await context_of(request).access.check_admin(request)


router = APIRouter(dependencies=[Depends(ADMIN_KEY), Depends(_admin)])
REFUSALS = (Unauthorised, RateLimited)


@router.get("/admin/sessions", responses=problems(*REFUSALS))
async def sessions(context: ContextDep) -> OwnedSessions:
    """Every session, the oldest first."""
    return OwnedSessions(
        sessions=[
            OwnedSession(
                session_id=session.id,
                owner=session.owner.name,
                status=session.state.value,
                queue_position=session.place,
                mode=session.mode,
                age_s=round(session.age_s, 1),
                metrics=SessionNumbers(**session.snapshot()),
            )
            for session in context.sessions.all()
        ]
    )


@router.delete(
    "/admin/sessions/{session_id}",
    status_code=204,
    response_class=Response,
    responses=problems(*REFUSALS, NotFound),
)
async def end(
    context: ContextDep, session_id: Annotated[str, Path(description="As listed.")]
) -> None:
    """End a session; its callers are told ``admin``."""
    await context.sessions.close(context.sessions.named(session_id), "admin")


@router.get("/admin/workers", responses=problems(*REFUSALS))
async def workers(context: ContextDep) -> WorkerList:
    """Every worker process."""
    return WorkerList(
        workers=[WorkerShown.model_validate(worker) for worker in context.workers.status()]
    )


@router.post("/admin/drain", status_code=202, responses=problems(*REFUSALS))
async def drain(context: ContextDep) -> Drained:
    """Open no more sessions until the server is started again, so that it can be stopped when those
    that are open have ended; /readyz answers 503."""
    context.sessions.refuse_more()
    return Drained(sessions=len(context.sessions))
