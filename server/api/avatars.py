"""/avatars: lists the portraits that sessions may name, takes new ones, removes them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, Response
from starlette.routing import Match
from starlette.types import Scope

from server.api.creation import PORTRAIT_CODES, CreationRoute, PortraitRoute, read_upload
from server.api.deps import API_KEY, ContextDep, context_of
from server.api.openapi import problems
from server.api.schemas import AvatarAdded, AvatarForm, AvatarList, AvatarShown, PortraitShown
from server.avatars import Avatar
from server.errors import (
    BadRequest,
    Conflict,
    NotFound,
    NotReady,
    RateLimited,
    StoreError,
    TooLarge,
    Unauthorised,
    UnsupportedMediaType,
    WorkerLost,
)

WRONG_NAME = "expected a name of 1 to 60 printable characters, got another; change the field"
KEYLESS: dict[str, Any] = {"security": [{}]}  # a server without an API key asks for none
CACHED = {"Cache-Control": "public, max-age=3600"}


class AvatarRoute(PortraitRoute):
    """Takes a form from who holds the API key."""

    accepts = "multipart/form-data"
    advice = "send the portrait as a form"

    async def admit(self, request: Request) -> None:
        """Raise Unauthorised or RateLimited before the body is read."""
        await context_of(request).access.admit(request)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match every media type: no other route answers the rest."""
        return CreationRoute.matches(self, scope)

    def explain(self, errors: Sequence[Mapping[str, Any]]) -> str:
        """Say what the field that is wrong should be."""
        wrong = {item["loc"][-1] for item in errors}
        return WRONG_NAME if wrong == {"name"} else super().explain(errors)


reading = APIRouter()
adding = APIRouter(route_class=AvatarRoute)


@reading.get("/avatars")
async def avatars(context: ContextDep) -> AvatarList:
    """The portraits that sessions may name: bundled ones, then added ones."""
    found = await asyncio.to_thread(context.avatars.all)
    return AvatarList(avatars=[_shown(avatar) for avatar in found])


@reading.get(
    "/avatars/{avatar_id}.jpg",
    response_class=Response,
    responses={
        200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}},
        **problems(NotFound),
    },
)
async def picture(context: ContextDep, avatar_id: str) -> Response:
    """One portrait, in the format in which it was added."""
    avatar = await asyncio.to_thread(context.avatars.get, avatar_id)
    return Response(avatar.picture, media_type=avatar.media_type, headers=CACHED)


@adding.post(
    "/avatars",
    status_code=201,
    dependencies=[Depends(API_KEY)],
    openapi_extra=KEYLESS,
    responses=problems(
        BadRequest,
        Unauthorised,
        Conflict,
        TooLarge,
        UnsupportedMediaType,
        RateLimited,
        NotReady,
        WorkerLost,
        StoreError,
        unprocessable=PORTRAIT_CODES,
    ),
)
async def add(
    response: Response,
    context: ContextDep,
    form: Annotated[AvatarForm, Form(media_type=PortraitRoute.media_type)],
) -> AvatarAdded:
    """Keep a portrait on the server, prepared, so that sessions for it open at once."""
    portrait, box = await read_upload(context, form)
    name = " ".join(form.name.split())
    if not name.isprintable() or not name:
        raise BadRequest(WRONG_NAME)
    prepared = await context.workers.prepare(portrait, box)
    avatar = await asyncio.to_thread(context.avatars.add, name, portrait, box)
    await context.workers.prepare(portrait, box, keep=True)  # on disk, beside the avatar
    response.headers["Location"] = f"avatars/{avatar.id}.jpg"  # also below a proxy's path
    report = prepared.report
    return AvatarAdded(
        **_shown(avatar).model_dump(),
        report=None if report is None else PortraitShown.model_validate(report.as_record()),
    )


@reading.delete(
    "/avatars/{avatar_id}",
    status_code=204,
    response_class=Response,
    dependencies=[Depends(API_KEY)],
    openapi_extra=KEYLESS,
    responses=problems(Unauthorised, NotFound, Conflict, RateLimited, StoreError),
)
async def remove(request: Request, context: ContextDep, avatar_id: str) -> None:
    """Forget an added portrait and what was prepared of it; open sessions go on."""
    await context.access.admit(request)
    await asyncio.to_thread(context.avatars.remove, avatar_id)


router = APIRouter()
router.include_router(reading)
router.include_router(adding)


def _shown(avatar: Avatar) -> AvatarShown:
    return AvatarShown(
        id=avatar.id,
        name=avatar.name,
        image_url=f"/avatars/{avatar.id}.jpg",
        bundled=avatar.bundled,
    )
