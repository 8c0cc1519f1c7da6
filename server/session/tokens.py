"""Tokens of a session that work once, for a short time: what a page may hold in place of its own.

**Bound**: ``MOST`` a session that were not used, ``MOST_CALLS`` that opened a call. **Drop rule**:
the oldest is forgotten.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from hashlib import sha256
from typing import Literal

from server.clock import Clock

Scope = Literal["stream", "offer", "events"]
"""The WebSocket; a call, offered or by WHIP and WHEP; the server-sent events."""

Use = Scope | Literal["call"]
"""What a token is presented for; ``call`` is what follows an offer: its candidates, its end."""

VALID_S = 60
MOST = 16
MOST_CALLS = 64


class OneTimeTokens:
    """The tokens of one session that were not used yet, and those that opened a call."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[frozenset[Scope], float]] = OrderedDict()
        self._calls: OrderedDict[bytes, str] = OrderedDict()

    def issue(self, scopes: frozenset[Scope]) -> str:
        """A token for one use of one of the scopes, within ``VALID_S``."""
        token = secrets.token_urlsafe(32)
        self._kept[_digest(token)] = (scopes, self._clock.now() + VALID_S)
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)
        return token

    def spend(self, token: str, use: Use, call: str = "") -> bool:
        """Use a token up; whether it was good for that. One for another scope stays, and one that
        opened a call goes on to be good for that call: its path below the session's."""
        digest = _digest(token)
        if use == "call":
            return self._calls.get(digest) == call
        scopes, ends_at = self._kept.get(digest, (frozenset(), 0.0))
        if use not in scopes or self._clock.now() >= ends_at:
            return False
        del self._kept[digest]
        return True

    def opened(self, token: str, call: str) -> None:
        """A token, the session's own or one that was spent, opened a call; the token of a call that
        this one replaces is good for nothing any more."""
        replaced = [digest for digest, path in self._calls.items() if path == call]
        for digest in replaced:
            del self._calls[digest]
        self._calls[_digest(token)] = call
        if len(self._calls) > MOST_CALLS:
            self._calls.popitem(last=False)


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
