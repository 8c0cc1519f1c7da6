"""POST /session: opens a session for a bundled avatar (JSON) or an uploaded portrait (form)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from models.errors import LiveheadError, PortraitError
from models.io.face_box import FORM as BOX_FORM
from models.io.face_box import FaceBox, read_face_box
from server.api.bodies import CALLER_GONE, BodyRoute
from server.api.control import INPUT_RATE
from server.api.deps import API_KEY, Context, ContextDep, context_of
from server.api.idempotency import KEY_PARAMETER, read_key
from server.api.middleware import media_type, too_large
from server.api.openapi import problems, second_body
from server.api.schemas import (
    AudioRates,
    CreateSession,
    IceServer,
    MediaUrls,
    PortraitForm,
    PortraitShown,
    PortraitUpload,
    SessionCreated,
    VideoFormat,
)
from server.errors import (
    INTERNAL_CODE,
    BadRequest,
    NoCapacity,
    NotFound,
    NotReady,
    RateLimited,
    TooLarge,
    TooManySessions,
    Unauthorised,
    UnsupportedMediaType,
    WorkerLost,
)
from server.media.av_frame import OUTPUT_RATE
from server.session import events
from server.session.request import SessionRequest
from server.session.session import Session
from server.turn import ice_servers_for

QUEUED = 202
MAX_FIELDS = 8
CREATED_HEADERS = {
    "Location": {
        "description": "The session, relative to the request's address.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Idempotency-Replayed": {
        "description": "With an Idempotency-Key: whether the session was made before.",
        "schema": {"type": "string", "enum": ["true", "false"]},
    },
}
URL_CODES = ("bad_url", "url_not_public", "url_unreachable", "url_no_picture")
NO_URLS = "expected no portrait_url, got one, and this server fetches none; send the picture itself"
NO_PORTRAIT = "expected a file field named portrait, got none; attach the picture"
WRONG_FLAG = "expected {name} true or false, got another value; change the field"
FLAGS = ("listening", "disclosure")
PORTRAIT_CODES = (
    *("bad_image", "image_too_small", "image_too_large", "bad_box"),
    *("no_face", "face_too_small", "face_turned"),
)


class CreationRoute(BodyRoute):
    """Refuses callers without the API key, then callers beyond the capacity; counts refusals."""

    accepts = "application/json or multipart/form-data"
    advice = "send an avatar_id as JSON or a portrait as a form"

    async def admit(self, request: Request) -> None:
        """Raise Unauthorised, RateLimited, NotReady, NoCapacity or TooManySessions before the body
        is read; what may be a repetition is not refused for its session's own place."""
        context = context_of(request)
        request.state.owner = await context.access.admit(request)
        if "idempotency-key" not in request.headers:
            context.sessions.check_capacity(request.state.owner)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler; what it raises is counted."""
        handle = super().get_route_handler()

        async def counted(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:
                code = error.code if isinstance(error, LiveheadError) else INTERNAL_CODE
                if isinstance(error, HTTPException) and error.status_code == TooLarge.status:
                    code = TooLarge.default_code
                context_of(request).telemetry.instruments.refused.labels(code).inc()
                raise

        return counted


class PortraitRoute(CreationRoute):
    """Takes forms; every other media type is for the route after it."""

    media_type = "multipart/form-data"
    unreadable = "expected a multipart form, got one that cannot be read"

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match forms alone."""
        if scope["type"] == "http" and media_type(Headers(scope=scope)) != self.media_type:
            return Match.NONE, {}
        return super().matches(scope)

    async def parse(self, request: Request) -> None:
        """Parse a form of one file and a few short fields."""
        form = await request.form(max_files=1, max_fields=MAX_FIELDS)
        empty = [name for name in ("mode", *FLAGS) if form.get(name) == ""]
        if empty:  # FastAPI would take an empty field as an absent one
            await form.close()
            raise BadRequest(_wrong_mode("") if "mode" in empty else _wrong_flag(empty))

    def explain(self, errors: Sequence[Mapping[str, Any]]) -> str:
        """Say what the field that is wrong should be."""
        wrong = {item["loc"][-1]: item["input"] for item in errors}
        if "portrait" in wrong:
            return NO_PORTRAIT
        if not wrong.keys().isdisjoint(FLAGS):
            return _wrong_flag(wrong)
        if "mode" in wrong:
            return _wrong_mode(str(wrong["mode"]))
        return f"expected box to be a text, {BOX_FORM}, got something else; change the field"


forms = APIRouter(route_class=PortraitRoute)
objects = APIRouter(route_class=CreationRoute)


@forms.post(
    "/session",
    status_code=201,
    response_model=SessionCreated,
    response_model_exclude_unset=True,  # an ICE server without a username has none, not null
    include_in_schema=False,
)
async def create_from_portrait(
    request: Request,
    response: Response,
    context: ContextDep,
    form: Annotated[PortraitForm, Form(media_type=PortraitRoute.media_type)],
) -> SessionCreated | Response:
    """Open a session for an uploaded portrait."""
    portrait, box = await read_upload(context, form)
    wanted = SessionRequest(
        portrait,
        form.mode,
        box=box,
        listening=form.listening == "true",
        disclosure=form.disclosure == "true",
    )
    return await _open(request, response, context, wanted)


@objects.post(
    "/session",
    status_code=201,
    response_model=SessionCreated,
    response_model_exclude_unset=True,
    response_description="The session is open.",
    dependencies=[Depends(API_KEY)],
    responses={
        201: {"headers": CREATED_HEADERS},
        QUEUED: {
            "model": SessionCreated,
            "description": "All places are taken: the session waits for one.",
            "headers": CREATED_HEADERS,
        },
        **problems(
            BadRequest,
            Unauthorised,
            NotFound,
            TooLarge,
            UnsupportedMediaType,
            RateLimited,
            TooManySessions,
            NoCapacity,
            NotReady,
            WorkerLost,
            unprocessable=(*PORTRAIT_CODES, *URL_CODES, "idempotency_key_reused"),
        ),
    },
    openapi_extra={
        **second_body(PortraitRoute.media_type, PortraitForm),
        "parameters": [KEY_PARAMETER],
        "security": [{}],  # a server without an API key asks for none
    },
)
async def create(
    request: Request, response: Response, context: ContextDep, wanted: CreateSession
) -> SessionCreated | Response:
    """Open a session for a bundled avatar (JSON) or an uploaded portrait (form)."""
    avatar_id, box = wanted.avatar_id, wanted.box
    if wanted.portrait_base64 is not None:
        portrait = wanted.portrait_base64
        _check_size(context, portrait)
    elif wanted.portrait_url is not None:
        if not context.settings.portrait_urls:
            raise BadRequest(NO_URLS)
        portrait = await context.portraits.fetch(wanted.portrait_url)
    else:
        avatar = await asyncio.to_thread(context.avatars.get, avatar_id or "")
        portrait, box = avatar.picture, box or avatar.box
    session_request = SessionRequest(
        portrait,
        wanted.mode,
        avatar_id,
        box,
        listening=wanted.listening,
        disclosure=wanted.disclosure,
    )
    return await _open(request, response, context, session_request)


router = APIRouter()
router.include_router(forms)
router.include_router(objects)


async def read_upload(context: Context, form: PortraitUpload) -> tuple[bytes, FaceBox | None]:
    """A form's picture and box.

    Raises:
        BadRequest: there is no picture, or the box is none.
        TooLarge: more than the largest upload.
    """
    portrait = await form.portrait.read()
    if not portrait:
        raise BadRequest(NO_PORTRAIT)
    _check_size(context, portrait)
    try:
        return portrait, read_face_box(form.box) if form.box else None
    except PortraitError as error:
        raise BadRequest(str(error)) from error


def _check_size(context: Context, portrait: bytes) -> None:
    if len(portrait) > context.settings.max_upload_bytes:
        raise too_large(context.settings.max_upload_bytes)


def _wrong_flag(wrong: Collection[str]) -> str:
    return WRONG_FLAG.format(name=next(name for name in FLAGS if name in wrong))


def _wrong_mode(mode: str) -> str:
    return f"expected mode speak or echo, got {mode[:20]!r}; change the field"


async def _open(
    request: Request, response: Response, context: Context, wanted: SessionRequest
) -> SessionCreated | Response:
    key = read_key(request.headers.get("idempotency-key"))
    wanted = replace(wanted, owner=request.state.owner)
    if key is None:
        session = await context.sessions.create(wanted)
    else:  # in the name of who asks: another caller's key is another key
        session, replayed = await context.idempotency.once(
            f"{wanted.owner.name} {key}", wanted, lambda: context.sessions.create(wanted)
        )
        response.headers["Idempotency-Replayed"] = str(replayed).lower()
    if key is None and await request.is_disconnected():  # nobody would know of the session
        await context.sessions.close(session, "caller_gone")
        return Response(status_code=CALLER_GONE)
    if session.place is not None:
        response.status_code = QUEUED
    response.headers["Location"] = f"session/{session.id}"  # also below a proxy's path
    response.headers["Cache-Control"] = "no-store"
    return _described(session, context)


def _described(session: Session, context: Context) -> SessionCreated:
    report = session.report
    return SessionCreated(
        session_id=session.id,
        status="ready" if session.place is None else "queued",
        queue_position=session.place,
        avatar_id=session.avatar_id,
        mode=session.mode,
        token=session.token,
        expires_at=None if session.expires_in_s is None else iso_in(session.expires_in_s),
        media=MediaUrls(
            offer_url=f"/session/{session.id}/offer",
            whip_url=f"/session/{session.id}/whip",
            whep_url=f"/session/{session.id}/whep",
            ws_url=f"/session/{session.id}/stream",
            events_url=f"/session/{session.id}/events",
        ),
        ice_servers=[
            IceServer(**server)
            for server in ice_servers_for(context.settings, session.id, time.time())
        ],
        video=VideoFormat(**events.video(session.spec, "h264").model_dump()),
        audio=AudioRates(input_sample_rate=INPUT_RATE, output_sample_rate=OUTPUT_RATE),
        report=None if report is None else PortraitShown.model_validate(report.as_record()),
    )


def iso_in(seconds: float) -> str:
    """The time in so many seconds, ISO 8601, UTC."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="seconds")
