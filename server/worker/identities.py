"""Keeps what was prepared from the portraits used last, found again by content hash.

A portrait is prepared once and shared by every session that shows it; the cache is bounded and
drops the identity that nobody opened for the longest time. Sessions that are open keep their own
reference, so dropping never hurts them. Knows nothing about models or pictures.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any


def content_hash(portrait: bytes) -> str:
    """The name of an uploaded file's identity: SHA-256 of its bytes, hexadecimal."""
    return hashlib.sha256(portrait).hexdigest()


class IdentityCache:
    """At most ``limit`` identities, least recently used dropped first."""

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"expected a limit of at least 1, got {limit}")
        self._limit = limit
        self._kept: OrderedDict[str, Any] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, name: str) -> bool:
        return name in self._kept

    def get(self, name: str) -> Any | None:
        """The identity of that name, now the most recently used, or None."""
        if name not in self._kept:
            return None
        self._kept.move_to_end(name)
        return self._kept[name]

    def put(self, name: str, identity: Any) -> None:
        """Keep an identity; the least recently used one goes when there is no room."""
        self._kept[name] = identity
        self._kept.move_to_end(name)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)
