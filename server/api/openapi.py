"""The OpenAPI description: what FastAPI collects, with this server's errors in their own form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from pydantic import BaseModel
from starlette.types import ASGIApp

from server.errors import PROBLEM_TYPE, UNPROCESSABLE, Problem, ServerError

DESCRIPTION = """
A portrait and streamed speech in, a talking face out.

1. `POST /session` opens a session and answers its token and its URLs (`media`).
2. Speech and pictures go through a WebSocket, `/session/{session_id}/stream?token=...&video=h264`
   (or `jpeg`, `none`), or through a WebRTC call: `POST /session/{session_id}/offer`, or by WHIP
   and WHEP. Events come with them, or alone from `GET /session/{session_id}/events`;
   `/asyncapi.json` describes them and the messages.
3. `DELETE /session/{session_id}` ends it.

Every error is a Problem (RFC 9457) with a stable `code`; a failure inside the server is 500,
`internal`. Every GET answers HEAD as well.
"""

ALLOWED = ("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "Last-Event-ID")
EXPOSED = (
    *("Accept-Patch", "ETag", "Idempotency-Replayed", "Link", "Location"),
    *("Retry-After", "WWW-Authenticate"),
)
_HEADERS = {
    401: ("WWW-Authenticate", "How to authenticate: Bearer."),
    413: ("Connection", "close: what is sent beyond the limit is thrown away."),
    429: ("Retry-After", "Seconds after which to try again."),
    503: ("Retry-After", "Seconds after which to try again."),
}


class DescribedApp(FastAPI):
    """A FastAPI application whose description says what it really answers.

    Attributes:
        origins: of pages that may call it; ``*`` for all.
    """

    origins: tuple[str, ...] = ()

    def build_middleware_stack(self) -> ASGIApp:
        """All of the application within the rules on origins: a page reads what failed, too.

        Pages prove themselves by tokens alone, so no answer lets a browser send cookies along.
        """
        stack = super().build_middleware_stack()
        if not self.origins:
            return stack
        return CORSMiddleware(
            stack,
            allow_origins=self.origins,
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=ALLOWED,
            expose_headers=EXPOSED,
        )

    def openapi(self) -> dict[str, Any]:
        """FastAPI's description without its own 422, which never occurs, and with our problems."""
        if self.openapi_schema is None:
            described = super().openapi()
            for operation in _operations(described):
                answers: dict[str, Any] = operation["responses"]
                for status in [status for status in answers if int(status) >= 400]:
                    (body,) = answers[status]["content"].values()
                    answers[status]["content"] = {PROBLEM_TYPE: body}
                    if "HTTPValidationError" in str(body):
                        del answers[status]
            schemas: dict[str, Any] = described["components"]["schemas"]
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
        return super().openapi()


def problems(
    *errors: type[ServerError], unprocessable: Sequence[str] = ()
) -> dict[int | str, dict[str, Any]]:
    """What a route declares as ``responses``: a problem for each status of its errors.

    Args:
        errors: that the route raises.
        unprocessable: codes that it answers with 422.
    """
    codes: dict[int, list[str]] = {}
    for error in errors:
        codes.setdefault(error.status, []).append(error.default_code)
    if unprocessable:
        codes[UNPROCESSABLE] = list(unprocessable)
    answers: dict[int | str, dict[str, Any]] = {}
    for status, names in sorted(codes.items()):
        description = f"{HTTPStatus(status).phrase}: {', '.join(names)}"
        answers[status] = {"model": Problem, "description": description}
        if status in _HEADERS:
            name, text = _HEADERS[status]
            answers[status]["headers"] = {name: {"description": text, "schema": {"type": "string"}}}
    return answers


def second_body(media_type: str, kind: type[BaseModel]) -> dict[str, Any]:
    """What a route declares as ``openapi_extra`` where another route of its path takes a form."""
    schema = kind.model_json_schema()
    return {"requestBody": {"content": {media_type: {"schema": schema}}}}


def _operations(described: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in described["paths"].values():
        yield from path.values()
