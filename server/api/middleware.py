"""ASGI middleware: a limit on the bytes of a body, and HEAD wherever there is GET."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.errors import TooLarge, headers_of

JSON_BYTES = 256 * 1024  # an SDP offer with many candidates is a tenth of this
FORM_SLACK_BYTES = 64 * 1024  # the form's own lines and its short fields
FAR_OVER = 4


def media_type(headers: Headers) -> str:
    """The body's media type without parameters, lower case."""
    return headers.get("content-type", "").split(";")[0].strip().lower()


def too_large(limit: int) -> TooLarge:
    """The error of a body over ``limit`` bytes."""
    return TooLarge(f"expected at most {limit} bytes, got more; send a smaller picture")


class BodyLimit:
    """Answers 413 when a body that a route reads is over its limit.

    What is somewhat over is read to its end all the same: a caller who is cut off while sending
    never reads why. What is far over is cut off.
    """

    def __init__(self, app: ASGIApp, upload_bytes: int) -> None:
        self._app = app
        self._form_bytes = upload_bytes + FORM_SLACK_BYTES
        self._base64_bytes = upload_bytes * 4 // 3 + JSON_BYTES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request whose body is counted as the application reads it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        form = media_type(headers) == "multipart/form-data"
        portrait = scope["path"].endswith("/session")
        limit = self._base64_bytes if portrait else JSON_BYTES
        if form:
            limit = self._form_bytes
        announced = headers.get("content-length", "")
        size = 0

        async def counted() -> Message:
            nonlocal size
            if announced.isdigit() and int(announced) > FAR_OVER * limit:
                raise refusal
            message = await receive()
            size += len(message.get("body", b""))
            if size <= limit:
                return message
            while message.get("more_body") and size <= FAR_OVER * limit:
                message = await receive()
                size += len(message.get("body", b""))
            raise refusal

        # The one kind of exception that FastAPI lets through while it reads a body.
        error = too_large(limit)
        refusal = HTTPException(error.status, str(error), headers_of(error))
        await self._app(scope, counted, send)


class HeadAsGet:
    """Answers HEAD as GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        ended = asyncio.Event()

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                ended.set()

        # A stream of events would go on for ever: whatever follows the header is not waited for.
        answer = asyncio.ensure_future(self._app({**scope, "method": "GET"}, receive, without_body))
        end = asyncio.ensure_future(ended.wait())
        try:
            await asyncio.wait({answer, end}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            answer.cancel()
            end.cancel()
            await asyncio.gather(answer, end, return_exceptions=True)
        if not ended.is_set():
            answer.result()
