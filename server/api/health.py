"""GET /healthz and /readyz: whether the process lives, whether it can take a caller."""

from __future__ import annotations

from fastapi import APIRouter, Request

from server.api.deps import context_of
from server.errors import NotReady

router = APIRouter()


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
async def ready(request: Request) -> dict[str, str | int]:
    """A worker is warm, and how many sessions there are and may be; 503 until then."""
    context = context_of(request)
    if not context.workers.ready:
        raise NotReady(retry_after_s=2)
    return {
        "status": "ready",
        "sessions": len(context.sessions),
        "max_sessions": context.sessions.limit,
        "measured_sessions": context.workers.capacity,
    }
