"""POST, GET and DELETE /session, and the interrupt."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from server.api.bodies import content_type, read_form, read_json
from server.api.deps import Context, bearer_of, context_of, token_of
from server.errors import BadRequest, NotFound, UnsupportedMediaType
from server.media.av_frame import OUTPUT_RATE
from server.session import events
from server.session.session import Mode, Session

router = APIRouter()

INPUT_RATE = 16_000
CALLER_GONE = 499  # as proxies log it; nobody reads the answer


class CreateSession(BaseModel):
    """The JSON form of POST /session."""

    model_config = ConfigDict(extra="forbid")

    avatar_id: str
    mode: Mode = "speak"


@router.post("/session", status_code=201)
async def create(request: Request) -> Response:
    """Open a session for a bundled avatar (JSON) or an uploaded portrait (multipart)."""
    context = context_of(request)
    context.sessions.check_key(bearer_of(request))
    context.sessions.check_capacity()  # before the body is read: a full server answers at once
    expires_at = context.sessions.expiry()
    kind = content_type(request)
    if kind == "application/json":
        wanted = await read_json(request, CreateSession)
        avatar = context.catalogue.avatar(wanted.avatar_id)
        session = await context.sessions.create(
            avatar.picture, mode=wanted.mode, avatar_id=avatar.id
        )
    elif kind == "multipart/form-data":
        portrait, mode = await _uploaded(request, context.settings.max_upload_bytes)
        session = await context.sessions.create(portrait, mode=mode)
    else:
        raise UnsupportedMediaType(
            f"expected application/json or multipart/form-data, got {kind or 'no content type'};"
            " send an avatar_id as JSON or a portrait as a form"
        )
    if await request.is_disconnected():  # its place would stay taken until it is found idle
        await context.sessions.close(session, "caller_gone")
        return Response(status_code=CALLER_GONE)
    return JSONResponse(
        _described(session, context, expires_at),
        status_code=201,
        headers={"Location": f"/session/{session.id}", "Cache-Control": "no-store"},
    )


@router.get("/session/{session_id}")
async def show(request: Request, session_id: str) -> dict[str, Any]:
    """The session's state and numbers."""
    session = context_of(request).sessions.find(session_id, token_of(request))
    return {
        "session_id": session.id,
        "status": session.state.value,
        "mode": session.mode,
        "avatar_id": session.avatar_id,
        "generation": session.epoch,
        "metrics": session.snapshot(),
    }


@router.delete("/session/{session_id}", status_code=204)
async def end(request: Request, session_id: str) -> Response:
    """End a session; one that has already ended is fine too."""
    sessions = context_of(request).sessions
    try:
        session = sessions.find(session_id, token_of(request))
    except NotFound:
        return Response(status_code=204)
    await sessions.close(session, "deleted")
    return Response(status_code=204)


@router.post("/session/{session_id}/interrupt", status_code=202)
async def interrupt(request: Request, session_id: str) -> dict[str, int]:
    """Stop speaking now and drop everything that is queued."""
    session = context_of(request).sessions.find(session_id, token_of(request))
    return {"generation": session.interrupt()}


async def _uploaded(request: Request, limit: int) -> tuple[bytes, Mode]:
    form = await read_form(request, limit)
    if not form.portrait:
        raise BadRequest("expected a file field named portrait, got none; attach the picture")
    mode = form.fields.get("mode", "speak")
    if mode == "speak":
        return form.portrait, "speak"
    if mode == "echo":
        return form.portrait, "echo"
    raise BadRequest(f"expected mode speak or echo, got {mode[:20]!r}; change the field")


def _described(session: Session, context: Context, expires_at: str) -> dict[str, Any]:
    return {
        "session_id": session.id,
        "status": "ready",
        "avatar_id": session.avatar_id,
        "mode": session.mode,
        "token": session.token,
        "expires_at": expires_at,
        "media": {
            "offer_url": f"/session/{session.id}/offer",
            "ws_url": f"/session/{session.id}/stream",
        },
        "ice_servers": list(context.settings.ice_servers),
        "video": events.video(session.spec, "h264"),
        "audio": {"input_sample_rate": INPUT_RATE, "output_sample_rate": OUTPUT_RATE},
    }
