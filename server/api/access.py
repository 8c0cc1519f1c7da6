"""Who asks, whether they may, and how often: API keys, the keys of admin and metrics, addresses.

A key that was checked once is known again by an HMAC under a secret of this process, so that its
slow hash is computed once, in a thread, one at a time. Whoever guesses waits: a few guesses a
minute for each address, a bounded queue before the hash, and nothing at all for unknown names.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address, ip_network

from starlette.requests import HTTPConnection

from server.api.rates import RequestRates
from server.clock import Clock
from server.errors import RateLimited, Unauthorised
from server.keys import ApiKey
from server.session.request import Owner
from server.settings import Settings

GUESSES_PER_MINUTE = 30
MOST_WAITING = 8
MOST_WRONG = 1000
LOCAL = Owner("local")
WRONG = "expected {what}, got none or a wrong one; send it as a Bearer token"


def bearer_of(connection: HTTPConnection) -> str | None:
    """The Bearer token of the header, or None."""
    kind, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None


def address_of(connection: HTTPConnection) -> str | None:
    """The caller's IPv4 address or IPv6 network of 64 bits; None for this machine itself."""
    try:
        address = ip_address(connection.client.host if connection.client else "::1")
    except ValueError:  # a socket of this machine has a name of its own
        return None
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_loopback:
        return None
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False))
    return str(address)


class Access:
    """The door of one server."""

    def __init__(self, settings: Settings, keys: Mapping[str, ApiKey], clock: Clock) -> None:
        self._settings = settings
        self._keys = keys
        self._rates = RequestRates(clock)
        self._pepper = secrets.token_bytes(32)
        self._known: dict[bytes, ApiKey] = {}
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        self._hashing = asyncio.Lock()
        self._waiting = 0

    @property
    def has_admin(self) -> bool:
        """Whether any key opens /admin."""
        admins = any(key.admin for key in self._keys.values())
        return admins or bool(self._settings.admin_key.get_secret_value())

    async def admit(self, connection: HTTPConnection) -> Owner:
        """Who asks to open sessions or the like, counted.

        Raises:
            Unauthorised: the server asks for a key; none came, or a wrong one.
            RateLimited: too many requests.
        """
        owner = await self.owner_of(connection)
        self.count(owner)
        return owner

    def count(self, owner: Owner) -> None:
        """Count one request of somebody.

        Raises:
            RateLimited: too many.
        """
        self._rates.take(owner.name, owner.requests_per_minute)

    async def owner_of(self, connection: HTTPConnection) -> Owner:
        """Who asks: a key's holder, or an address where no key is asked for.

        Raises:
            Unauthorised: the key is missing or wrong.
            RateLimited: too many wrong ones.
        """
        settings, address = self._settings, address_of(connection)
        if not settings.asks_for_key:
            if address is None:
                return LOCAL
            return Owner(
                f"address:{address}",
                settings.peer_max_sessions,
                settings.peer_requests_per_minute,
            )
        given = bearer_of(connection) or ""
        if _same(given, settings.api_key.get_secret_value()):
            return Owner("key")
        key = await self._find(given, address)
        if key is None:
            raise Unauthorised(WRONG.format(what="the server's API key"))
        return Owner(f"key:{key.name}", key.max_sessions, key.requests_per_minute)

    async def check_admin(self, connection: HTTPConnection) -> None:
        """Let only an admin in.

        Raises:
            Unauthorised: the key is missing, wrong or no admin's.
            RateLimited: too many wrong ones.
        """
        given = bearer_of(connection) or ""
        if _same(given, self._settings.admin_key.get_secret_value()):
            return
        key = await self._find(given, address_of(connection))
        if key is None or not key.admin:
            raise Unauthorised(WRONG.format(what="an admin's key"))

    def check_metrics(self, connection: HTTPConnection) -> None:
        """Let only a holder of the metrics key in, where one is set.

        Raises:
            Unauthorised: the key is missing or wrong.
        """
        key = self._settings.metrics_key.get_secret_value()
        if key and not _same(bearer_of(connection) or "", key):
            raise Unauthorised(WRONG.format(what="the server's metrics key"))

    async def _find(self, given: str, address: str | None) -> ApiKey | None:
        """The key of the file that was given, or None."""
        if not given:
            return None
        digest = hmac.digest(self._pepper, given.encode(), "sha256")
        if digest in self._known:
            return self._known[digest]
        if address is not None:
            self._rates.take(f"guesses:{address}", GUESSES_PER_MINUTE)
        key = self._keys.get(given.partition(".")[0])
        if key is None or digest in self._wrong:
            return None
        if self._waiting >= MOST_WAITING:
            raise RateLimited(
                "expected few unknown keys at once, got many; try again shortly", retry_after_s=1
            )
        self._waiting += 1
        try:
            return await self._check(key, given, digest)
        finally:
            self._waiting -= 1

    async def _check(self, key: ApiKey, given: str, digest: bytes) -> ApiKey | None:
        async with self._hashing:
            if digest in self._known or digest in self._wrong:  # while this one waited
                return self._known.get(digest)
            if await asyncio.to_thread(key.fits, given):
                self._known[digest] = key
                return key
            self._wrong[digest] = None
            if len(self._wrong) > MOST_WRONG:
                self._wrong.popitem(last=False)
            return None


def _same(given: str, expected: str) -> bool:
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())
