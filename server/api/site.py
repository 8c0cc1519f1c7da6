"""What anyone may GET: health, the bundled avatars and clips, the page and the API reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from server.api.deps import ContextDep
from server.api.openapi import problems
from server.api.schemas import ClipList, ClipShown, Liveness, Readiness
from server.errors import NoCapacity, NotFound, NotReady

router = APIRouter()

STATIC = Path(__file__).parents[2] / "client_demo" / "static"  # beside the server, not below it
REFERENCE = Path(__file__).with_name("reference.html")
CACHED = {"Cache-Control": "public, max-age=3600"}
UNCACHED = {"Cache-Control": "no-cache"}


class WavResponse(Response):
    """Sound."""

    media_type = "audio/wav"


def _file_of(kind: type[Response]) -> dict[int | str, dict[str, Any]]:
    content = {str(kind.media_type): {"schema": {"type": "string", "format": "binary"}}}
    return {200: {"content": content}, **problems(NotFound)}


@router.get("/healthz")
async def alive() -> Liveness:
    """The process answers."""
    return Liveness()


@router.get("/readyz", responses=problems(NotReady, NoCapacity))
async def ready(context: ContextDep) -> Readiness:
    """A worker is warm, and how many sessions there are and may be; 503 before, and at the end."""
    context.sessions.check_goes_on()
    if not context.workers.ready:
        raise NotReady(retry_after_s=2)
    return Readiness(
        sessions=len(context.sessions),
        max_sessions=context.sessions.limit,
        measured_sessions=context.workers.capacity,
    )


@router.get("/clips")
async def clips(context: ContextDep) -> ClipList:
    """The bundled lines of speech."""
    return ClipList(
        clips=[
            ClipShown(id=clip.id, name=clip.name, url=f"/clips/{clip.id}.wav", text=clip.text)
            for clip in context.assets.clips
        ]
    )


@router.get("/clips/{clip_id}.wav", response_class=WavResponse, responses=_file_of(WavResponse))
async def sound(context: ContextDep, clip_id: str) -> WavResponse:
    """One line of speech."""
    return WavResponse(context.assets.clip(clip_id).sound, headers=CACHED)


@router.get("/docs", include_in_schema=False)
async def reference() -> FileResponse:
    """The API reference, which shows /openapi.json; needs no other host."""
    return FileResponse(REFERENCE, headers=UNCACHED)


def mount_page(app: FastAPI, folder: Path = STATIC) -> None:
    """Serve the page's folder; without one the API stands alone."""
    if not (folder / "index.html").exists():
        return
    app.mount("/static", StaticFiles(directory=folder), name="static")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(folder / "index.html", headers=UNCACHED)
