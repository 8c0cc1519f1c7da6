"""ASGI middleware: a limit on the bytes of a body, answers that come before a body was read to its
end, and HEAD wherever there is GET."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.errors import TooLarge, headers_of

JSON_BYTES = 256 * 1024  # an SDP offer with many candidates is a tenth of this
FORM_SLACK_BYTES = 64 * 1024  # the form's own lines and its short fields
SMALL_BYTES = 64 * 1024  # such a rest is read before the answer: the connection can stay
DRAIN_BYTES = 2 * 1024**3
DRAIN_S = 120.0
IDLE_S = 5.0  # nothing comes for so long: the caller has read the answer
EXPECT_S = 0.5  # the same for one who asked first whether to send


def media_type(headers: Mapping[str, str]) -> str:
    """The body's media type without parameters, lower case."""
    return headers.get("content-type", "").split(";")[0].strip().lower()


def too_large(limit: int) -> TooLarge:
    """The error of a body over ``limit`` bytes."""
    return TooLarge(f"expected at most {limit} bytes, got more; send a smaller picture")


class BodyLimit:
    """Answers 413 when a body that a route reads is over its limit, as soon as that is known."""

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
            if announced.isdigit() and int(announced) > limit:
                raise refusal
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                raise refusal
            return message

        # The one kind of exception that FastAPI lets through while it reads a body.
        error = too_large(limit)
        refusal = HTTPException(error.status, str(error), headers_of(error))
        await self._app(scope, counted, send)


class EarlyAnswer:
    """Reads on behind an answer that comes before its request's body was read.

    A caller who is cut off while sending is told that the connection broke, and most never read the
    answer then. **Bound**: ``DRAIN_BYTES`` in ``DRAIN_S``, with pauses up to ``IDLE_S``; what
    is sent beyond them breaks the connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(Headers(scope=scope), receive)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                if body.unread and body.small:
                    await body.drain()
                if body.unread:
                    headers = [pair for pair in message["headers"] if pair[0] != b"connection"]
                    message = {**message, "headers": [*headers, (b"connection", b"close")]}
            elif body.unread and not message.get("more_body"):
                await send({**message, "more_body": True})
                await body.drain()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        await self._app(scope, body.receive, answer)


class _Body:
    """The body of one request, as far as it was read."""

    def __init__(self, headers: Headers, receive: Receive) -> None:
        announced = headers.get("content-length", "")
        length = int(announced) if announced.isdigit() else 0
        chunked = "transfer-encoding" in headers
        self.unread = chunked or length > 0
        self.small = not chunked and length <= SMALL_BYTES
        self._receive = receive
        self._idle_s = EXPECT_S if "expect" in headers else IDLE_S

    async def receive(self) -> Message:
        message = await self._receive()
        self.unread = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Read to the end or to the bound."""
        size = 0
        try:
            async with asyncio.timeout(DRAIN_S):
                while self.unread and size < DRAIN_BYTES:
                    async with asyncio.timeout(self._idle_s):
                        size += len((await self.receive()).get("body", b""))
        except TimeoutError:
            return


class HeadAsGet:
    """Answers HEAD as GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        answered = False

        async def without_body(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                answered = True
                answer.cancel()  # a stream of events would go on for ever

        answer = asyncio.ensure_future(self._app({**scope, "method": "GET"}, receive, without_body))
        await asyncio.gather(answer, return_exceptions=True)
        if not answered:
            answer.result()
