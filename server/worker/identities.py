"""Caches prepared portraits by content hash.

A portrait is prepared once and shared by every session that shows it; the cache is bounded and
drops the identity that nobody opened for the longest time. Sessions that are open keep their own
reference, so dropping never hurts them. Knows nothing about models or pictures.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic

from models.generator import Identity


class IdentityCache(Generic[Identity]):
    """At most ``limit`` identities, least recently used dropped first."""

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"expected a limit of at least 1, got {limit}")
        self._limit = limit
        self._identities: OrderedDict[str, Identity] = OrderedDict()

    def __len__(self) -> int:
        return len(self._identities)

    def __contains__(self, key: str) -> bool:
        return key in self._identities

    def get(self, key: str) -> Identity | None:
        """The identity of an image file, now the most recently used, or None."""
        if key not in self._identities:
            return None
        self._identities.move_to_end(key)
        return self._identities[key]

    def put(self, key: str, identity: Identity) -> None:
        """Add an identity; at the limit the least recently used one is dropped."""
        self._identities[key] = identity
        self._identities.move_to_end(key)
        while len(self._identities) > self._limit:
            self._identities.popitem(last=False)
