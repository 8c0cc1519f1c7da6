"""``Idempotency-Key``: a creation that is repeated with the same key gets the session it made."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256

from server.clock import Clock
from server.errors import BadRequest, KeyReused
from server.session.request import SessionRequest
from server.session.session import Session

KEPT_S = 600.0
MOST = 1000
LONGEST = 255
KEY_PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A random name of this request: sent again with it within ten minutes, it gets"
    " the session that it made.",
    "schema": {"type": "string", "maxLength": LONGEST, "pattern": "^[ -~]+$"},
}
"""Of the OpenAPI description."""


@dataclass(frozen=True, slots=True)
class _Kept:
    fingerprint: str
    made: asyncio.Future[Session]
    at: float


class IdempotencyKeys:
    """The keys of the last ten minutes, at most a thousand; the oldest are forgotten first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def once(
        self, key: str, request: SessionRequest, create: Callable[[], Awaitable[Session]]
    ) -> tuple[Session, bool]:
        """The session that the key made, and whether it was made before.

        A key whose creation failed, or whose session has ended, counts as new.

        Raises:
            KeyReused: the key came with another request before.
        """
        self._forget_old()
        fingerprint, kept = _fingerprint(request), self._kept.get(key)
        if kept is not None and kept.fingerprint != fingerprint:
            raise KeyReused(
                "expected the same request as before with this Idempotency-Key, got another; use a"
                " new key for a new session"
            )
        if kept is not None:
            session = await asyncio.shield(kept.made)
            if not session.ended:
                return session, True
        made: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
        made.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._kept[key] = mine = _Kept(fingerprint, made, self._clock.now())
        try:
            session = await create()
        except BaseException as error:
            if self._kept.get(key) is mine:
                del self._kept[key]
            if isinstance(error, Exception):
                made.set_exception(error)
            else:
                made.cancel()
            raise
        made.set_result(session)
        return session, False

    def _forget_old(self) -> None:
        while self._kept:
            oldest = next(iter(self._kept.values()))
            if len(self._kept) < MOST and self._clock.now() - oldest.at < KEPT_S:
                return
            self._kept.popitem(last=False)


def read_key(header: str | None) -> str | None:
    """The key of a request, None without one.

    Raises:
        BadRequest: empty, too long, or not printable ASCII.
    """
    if header is None:
        return None
    if not 0 < len(header) <= LONGEST or not (header.isascii() and header.isprintable()):
        raise BadRequest(
            f"expected an Idempotency-Key of 1 to {LONGEST} printable characters, got another;"
            " send a random UUID"
        )
    return header


def _fingerprint(request: SessionRequest) -> str:
    digest = sha256(request.portrait)
    wanted = (request.mode, request.avatar_id, request.box, request.listening, request.disclosure)
    digest.update(repr(wanted).encode())
    return digest.hexdigest()
