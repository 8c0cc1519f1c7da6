"""Portraits behind URLs: fetched within bounds, and never from the server's own network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address

import pytest

from server.api import remote_portrait
from server.api.remote_portrait import Address, RemotePortraits, is_public
from server.errors import PortraitUrlError, TooLarge

pytestmark = pytest.mark.unit

PICTURE = b"\x89PNG" + bytes(1000)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "10.0.0.1",
        "172.16.3.4",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
    ],
)
def test_what_is_not_the_public_internet_is_not_asked(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808"])
def test_the_public_internet_is(address: str) -> None:
    assert is_public(ip_address(address))


@asynccontextmanager
async def site(answer: Callable[[str], bytes]) -> AsyncIterator[int]:
    """A web server that answers a path with raw bytes; its port. It asks for the Host header."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert f"Host: localhost:{port}\r\n" in head or "Host: 127.0.0." in head
        writer.write(answer(head.split()[1]))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield port
    finally:
        server.close()
        await server.wait_closed()


def reply(body: bytes, kind: str = "image/png", status: str = "200 OK", more: str = "") -> bytes:
    """An HTTP answer."""
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{more}\r\n".encode() + body


def everywhere(_: Address) -> bool:
    """Loopback too, for the tests."""
    return True


async def code_of(portraits: RemotePortraits, url: str) -> str:
    """The code of the error that a URL costs."""
    with pytest.raises(PortraitUrlError) as error:
        await portraits.fetch(url)
    assert url not in str(error.value)
    return error.value.code


async def test_a_picture_is_fetched_through_redirects_by_its_hosts_name() -> None:
    def answer(path: str) -> bytes:
        if path == "/face":
            return reply(PICTURE)
        return reply(b"", status="302 Found", more="Location: /face\r\n")

    async with site(answer) as port:
        portraits = RemotePortraits(2000, everywhere)
        assert await portraits.fetch(f"http://localhost:{port}/first?x=1") == PICTURE


async def test_every_hop_is_checked() -> None:
    asked: list[str] = []

    def answer(path: str) -> bytes:
        asked.append(path)
        return reply(b"", status="302 Found", more=f"Location: http://127.0.0.2:{port}/secret\r\n")

    async with site(answer) as port:
        portraits = RemotePortraits(2000, lambda address: str(address) == "127.0.0.1")
        assert await code_of(portraits, f"http://127.0.0.1:{port}/first") == "url_not_public"
        assert asked == ["/first"]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://example.org/a.png", "bad_url"),
        ("file:///etc/passwd", "bad_url"),
        ("http://name:secret@example.org/a.png", "bad_url"),
        ("http:///a.png", "bad_url"),
        ("no url at all", "bad_url"),
        ("http://[::1", "bad_url"),
        ("http://localhost:9/a.png", "url_not_public"),
        ("http://2130706433/a.png", "url_not_public"),
        ("http://0x7f.1/a.png", "url_not_public"),
        ("http://[::ffff:127.0.0.1]/a.png", "url_not_public"),
    ],
)
async def test_other_urls_and_other_spellings_of_home_are_refused(url: str, code: str) -> None:
    assert await code_of(RemotePortraits(2000), url) == code


async def test_what_is_no_picture_too_large_or_endless_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(path: str) -> bytes:
        return {
            "/page": reply(b"<html>", "text/html"),
            "/lost": reply(b"", status="404 Not Found"),
            "/large": reply(bytes(5000)),
            "/short": reply(b"abc", more="Content-Length: 100\r\n"),
            "/round": reply(b"", status="301 Moved", more="Location: /round\r\n"),
        }[path]

    async with site(answer) as port:
        portraits = RemotePortraits(2000, everywhere)
        url = f"http://127.0.0.1:{port}"
        assert await code_of(portraits, f"{url}/page") == "url_no_picture"
        assert await code_of(portraits, f"{url}/lost") == "url_no_picture"
        assert await code_of(portraits, f"{url}/short") == "url_unreachable"
        assert await code_of(portraits, f"{url}/round") == "url_unreachable"
        with pytest.raises(TooLarge):
            await portraits.fetch(f"{url}/large")
    assert await code_of(portraits, f"{url}/gone") == "url_unreachable"
    monkeypatch.setattr(remote_portrait, "TOTAL_S", 0.2)
    kept: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: kept.append(writer), "127.0.0.1", 0)
    async with silent:
        port = silent.sockets[0].getsockname()[1]
        assert await code_of(portraits, f"http://127.0.0.1:{port}/") == "url_unreachable"
        for writer in kept:
            writer.close()
            await writer.wait_closed()
