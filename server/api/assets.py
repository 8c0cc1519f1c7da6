"""GET /avatars and /clips: what comes with the server."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from server.api.deps import context_of

router = APIRouter()

CACHED = {"Cache-Control": "public, max-age=3600"}


@router.get("/avatars")
async def avatars(request: Request) -> dict[str, Any]:
    """The bundled portraits."""
    return {
        "avatars": [
            {"id": avatar.id, "name": avatar.name, "image_url": f"/avatars/{avatar.id}.png"}
            for avatar in context_of(request).catalogue.avatars
        ]
    }


@router.get("/avatars/{avatar_id}.png")
async def picture(request: Request, avatar_id: str) -> Response:
    """One portrait."""
    avatar = context_of(request).catalogue.avatar(avatar_id)
    return Response(avatar.picture, media_type="image/png", headers=CACHED)


@router.get("/clips")
async def clips(request: Request) -> dict[str, Any]:
    """The bundled lines of speech."""
    return {
        "clips": [
            {"id": clip.id, "name": clip.name, "url": f"/clips/{clip.id}.wav", "text": clip.text}
            for clip in context_of(request).catalogue.clips
        ]
    }


@router.get("/clips/{clip_id}.wav")
async def sound(request: Request, clip_id: str) -> Response:
    """One line of speech."""
    clip = context_of(request).catalogue.clip(clip_id)
    return Response(clip.sound, media_type="audio/wav", headers=CACHED)
