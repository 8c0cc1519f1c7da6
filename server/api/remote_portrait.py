"""Fetches a portrait from a URL, so that nobody can make the server ask its own network.

Every hop is resolved here, each of its addresses must be public, and the connection goes to the
address that was checked: a name that resolves otherwise the next time gains nothing. Size, time and
type are bounded; proxies of the environment are not used, since they would resolve for themselves.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx

from server.api.middleware import media_type, too_large
from server.errors import PortraitUrlError

MAX_HOPS = 4
TOTAL_S = 10.0
HOP_S = 5.0
NAT64 = IPv6Network("64:ff9b::/96")  # its last 32 bits are an IPv4 address (RFC 6052)
TYPES = ("image/", "application/octet-stream")
ADVICE = "send the picture itself"
Address = IPv4Address | IPv6Address


def is_public(address: Address) -> bool:
    """Whether an address, and the IPv4 address that it may carry, is on the public internet."""
    return all(
        item.is_global and not item.is_multicast for item in (address, *_carried_by(address))
    )


def _carried_by(address: Address) -> list[Address]:
    if isinstance(address, IPv4Address):
        return []
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in NAT64:
        inner.append(IPv4Address(address.packed[-4:]))
    return [item for item in inner if item is not None]


class RemotePortraits:
    """Fetches pictures of at most ``max_bytes``; ``allows`` says which addresses may be asked."""

    def __init__(self, max_bytes: int, allows: Callable[[Address], bool] = is_public) -> None:
        self._max_bytes = max_bytes
        self._allows = allows

    async def fetch(self, url: str) -> bytes:
        """The picture behind a URL.

        Raises:
            PortraitUrlError: not http(s), an address that is not public, no answer in time, no
                picture.
            TooLarge: more than the largest upload.
        """
        try:
            async with asyncio.timeout(TOTAL_S), self._answer(url) as answer:
                return await self._read(answer)
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            raise PortraitUrlError(
                f"expected an answer from the portrait's URL, got {type(error).__name__};"
                f" check it, or {ADVICE}",
                code="url_unreachable",
            ) from error

    @asynccontextmanager
    async def _answer(self, url: str) -> AsyncIterator[httpx.Response]:
        """The answer at the end of the redirects, its body not read."""
        async with httpx.AsyncClient(trust_env=False, timeout=HOP_S) as client:
            for _ in range(MAX_HOPS):
                request = await self._request(client, url)
                answer = await client.send(request, stream=True)
                try:
                    if not answer.is_redirect:
                        yield answer
                        return
                    url = str(httpx.URL(url).join(answer.headers["location"]))
                finally:
                    await answer.aclose()
        raise PortraitUrlError(
            f"expected at most {MAX_HOPS - 1} redirects from the portrait's URL, got more;"
            f" {ADVICE}",
            code="url_unreachable",
        )

    async def _request(self, client: httpx.AsyncClient, url: str) -> httpx.Request:
        """A request to an address of the URL's host that was checked."""
        try:
            target = httpx.URL(url)
        except httpx.InvalidURL:
            target = httpx.URL()
        if target.scheme not in {"http", "https"} or not target.host or target.userinfo:
            raise PortraitUrlError(
                "expected an http or https URL with a host and without a password; correct it, or"
                f" {ADVICE}",
                code="bad_url",
            )
        port = target.port or {"http": 80, "https": 443}[target.scheme]
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(target.host, port, type=socket.SOCK_STREAM)
        addresses = [ip_address(str(item[4][0]).partition("%")[0]) for item in found]
        if not addresses or not all(self._allows(address) for address in addresses):
            raise PortraitUrlError(
                "expected a URL on a public address, got one that is not; " + ADVICE,
                code="url_not_public",
            )
        return client.build_request(
            "GET",
            target.copy_with(host=str(addresses[0])),
            headers={"Host": target.netloc.decode("ascii"), "Accept": "image/*"},
            extensions={"sni_hostname": target.raw_host.decode("ascii")},
        )

    async def _read(self, answer: httpx.Response) -> bytes:
        kind = media_type(answer.headers)
        if answer.status_code != httpx.codes.OK or not kind.startswith(TYPES):
            raise PortraitUrlError(
                f"expected a picture behind the portrait's URL, got status {answer.status_code}"
                f" and {kind[:40] or 'no content type'}; check it, or {ADVICE}",
                code="url_no_picture",
            )
        data = bytearray()
        async for part in answer.aiter_bytes():
            data += part
            if len(data) > self._max_bytes:
                raise too_large(self._max_bytes)
        return bytes(data)
