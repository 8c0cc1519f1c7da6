"""REST client of the server: create a session, ask for its status, end it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode, urljoin

import httpx

from models.errors import LiveheadError

Mode = Literal["speak", "echo"]

TIMEOUT_S = 30.0  # a new portrait may have to be prepared


class RequestFailed(LiveheadError):
    """Raised when the server refuses or vanishes; ``code`` is the server's own where it gave one.

    Attributes:
        status: the HTTP status, 0 when there was no answer.
        retry_after_s: after how many seconds a busy server should be asked again, or None.
    """

    def __init__(
        self, message: str, *, code: str, status: int = 0, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Format:
    """What the server sends: picture size in pixels, frames per second, sound rate in Hz."""

    width: int
    height: int
    fps: float
    sample_rate: int


@dataclass(frozen=True, slots=True)
class Ticket:
    """How a new session is reached: its id, its secret token, its WebSocket's path, its format; and
    what the server found in the portrait, None where the model does not tell."""

    session_id: str
    token: str
    stream_path: str
    format: Format
    report: dict[str, Any] | None = None

    @property
    def headers(self) -> dict[str, str]:
        """HTTP headers that carry the token."""
        return {"Authorization": f"Bearer {self.token}"}


class Rest:
    """REST requests to one server."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        """``url`` such as ``http://localhost:8000``; ``api_key`` for servers that ask for one."""
        self._base = url.rstrip("/") + "/"
        self._key = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    async def create(
        self,
        avatar_id: str | None,
        portrait: bytes | None,
        mode: Mode,
        box: Sequence[float] | None = None,
    ) -> Ticket:
        """Open a session for a portrait, a bundled avatar, or the first avatar there is.

        ``box`` is around the face to take of several: x, y, width, height in pixels of the picture,
        or in shares of it if none is over 1.

        Raises:
            RequestFailed: the server refuses (``no_face``, ``no_capacity``, ...) or does not answer
                (``unreachable``).
        """
        async with self._http() as http:
            if portrait is not None:
                files = {"portrait": ("portrait", portrait, media_type(portrait))}
                fields = {"mode": mode} | ({"box": ",".join(map(str, box))} if box else {})
                body: dict[str, Any] = {"files": files, "data": fields}
            else:
                avatar_id = avatar_id or await self._first_avatar(http)
                chosen = {"box": list(box)} if box else {}
                body = {"json": {"avatar_id": avatar_id, "mode": mode, **chosen}}
            answer = await self._ask(http, "POST", "session", headers=self._key, **body)
        created = answer.json()
        video = created["video"]
        return Ticket(
            session_id=created["session_id"],
            token=created["token"],
            stream_path=created["media"]["ws_url"],
            format=Format(
                video["width"],
                video["height"],
                video["fps"],
                created["audio"]["output_sample_rate"],
            ),
            report=created["report"],
        )

    async def status(self, ticket: Ticket) -> dict[str, Any]:
        """The server's view of a session: its state and metrics.

        Raises:
            RequestFailed: ``not_found`` when it has ended, or ``unreachable``.
        """
        async with self._http() as http:
            answer = await self._ask(
                http, "GET", f"session/{ticket.session_id}", headers=ticket.headers
            )
        return dict(answer.json())

    async def delete(self, ticket: Ticket) -> None:
        """End a session; one that has ended already is fine."""
        async with self._http() as http:
            try:
                await http.delete(f"session/{ticket.session_id}", headers=ticket.headers)
            except httpx.TransportError:
                return  # the server is gone, and the session with it

    def stream_url(self, ticket: Ticket, video: str) -> str:
        """The WebSocket's address with the token that it needs."""
        address = urljoin(self._base, ticket.stream_path.lstrip("/"))
        query = urlencode({"token": ticket.token, "video": video})
        return f"{address.replace('http', 'ws', 1)}?{query}"

    def _http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self._base, timeout=TIMEOUT_S)

    async def _first_avatar(self, http: httpx.AsyncClient) -> str:
        avatars = (await self._ask(http, "GET", "avatars")).json()["avatars"]
        if not avatars:
            raise RequestFailed(
                "expected a server with bundled avatars, got none; give a portrait",
                code="not_found",
            )
        return str(avatars[0]["id"])

    async def _ask(
        self, http: httpx.AsyncClient, method: str, path: str, **options: Any
    ) -> httpx.Response:
        try:
            answer = await http.request(method, path, **options)
        except httpx.TransportError as error:
            raise RequestFailed(
                f"expected a Livehead server at {self._base}, got no answer ({error}); start it",
                code="unreachable",
            ) from error
        if answer.is_error:
            raise _refusal(answer)
        return answer


def media_type(picture: bytes) -> str:
    """The media type by the first bytes of an encoded picture; the server judges unknown ones."""
    if picture.startswith(b"\x89PNG"):
        return "image/png"
    if picture.startswith(b"\xff\xd8"):
        return "image/jpeg"
    if picture[:4] == b"RIFF" and picture[8:12] == b"WEBP":
        return "image/webp"
    if picture[4:8] == b"ftyp":
        return "image/avif" if picture[8:12] in (b"avif", b"avis") else "image/heic"
    return "application/octet-stream"


def _refusal(answer: httpx.Response) -> RequestFailed:
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    detail = problem.get("detail") or problem.get("title") or answer.reason_phrase
    wait = answer.headers.get("Retry-After", "")
    return RequestFailed(
        f"the server refused ({answer.status_code}): {detail}",
        code=problem.get("code", f"http_{answer.status_code}"),
        status=answer.status_code,
        retry_after_s=float(wait) if wait.isdigit() else None,
    )
