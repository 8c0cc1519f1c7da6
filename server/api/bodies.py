"""Reads a request's body under a limit: JSON objects, or a form with a portrait."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from server.errors import BadRequest, TooLarge, UnsupportedMediaType

JSON_BYTES = 256 * 1024  # an SDP offer with many candidates is a tenth of this
FORM_SLACK_BYTES = 64 * 1024  # the form's own lines and its short fields
FAR_OVER = 4
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart form: its text fields, and the bytes of its file field."""

    fields: dict[str, str]
    portrait: bytes | None


def content_type(request: Request) -> str:
    """The body's media type without parameters, lower case."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


async def read_limited(request: Request, limit: int) -> bytes:
    """The body, of which no more than ``limit`` bytes are ever kept.

    What is somewhat over is read to its end all the same: a caller who is cut off while sending
    never reads why. What is far over is cut off.

    Raises:
        TooLarge: it is over the limit.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > FAR_OVER * limit:
        raise _too_large(limit)
    body, size = bytearray(), 0
    async for piece in request.stream():
        size += len(piece)
        if size <= limit:
            body += piece
        elif size > FAR_OVER * limit:
            break
    if size > limit:
        raise _too_large(limit)
    return bytes(body)


async def read_json(request: Request, kind: type[M]) -> M:
    """The body as one validated JSON object.

    Raises:
        UnsupportedMediaType: another content type.
        BadRequest: not JSON, or not this object.
    """
    if content_type(request) != "application/json":
        raise UnsupportedMediaType(
            f"expected application/json, got {content_type(request) or 'no content type'};"
            " send a JSON object"
        )
    return parse_json(await read_limited(request, JSON_BYTES), kind)


def parse_json(text: bytes | str, kind: type[M]) -> M:
    """One validated JSON object; raises BadRequest, naming the fields that are wrong."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest("expected JSON, got something else; send one JSON object") from error
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise BadRequest(explain(error)) from error


def explain(error: ValidationError) -> str:
    """Which fields are wrong and why, without their values."""
    wrong = (
        f"{'.'.join(str(part) for part in item['loc']) or 'the object'}: {item['msg']}"
        for item in error.errors(include_input=False, include_url=False)
    )
    return "expected another object; " + "; ".join(wrong)


async def read_form(request: Request, limit: int) -> Form:
    """The body as a multipart form whose file field is ``portrait``.

    Raises:
        TooLarge: the portrait is over ``limit`` bytes.
        BadRequest: not a readable form.
    """
    body = await read_limited(request, limit + FORM_SLACK_BYTES)

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        parser = MultiPartParser(request.headers, pieces(), max_files=1, max_fields=8)
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise BadRequest("expected a multipart form, got one that cannot be read") from error
    try:
        return await _contents(list(form.multi_items()), limit)
    finally:
        await form.close()


async def _contents(items: list[tuple[str, Any]], limit: int) -> Form:
    fields: dict[str, str] = {}
    portrait: bytes | None = None
    for name, value in items:
        if isinstance(value, UploadFile):
            if name == "portrait":
                portrait = await value.read()
        else:
            fields[name] = str(value)
    if portrait is not None and len(portrait) > limit:
        raise _too_large(limit)
    return Form(fields, portrait)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"expected at most {limit} bytes, got more; send a smaller picture")
