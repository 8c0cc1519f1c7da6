"""An answer that comes before its upload was read is read by the clients that people use."""

from __future__ import annotations

import asyncio
import http.client
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from server.api import middleware
from server.api.middleware import EarlyAnswer
from tests.support.server_in_loop import Caller, serving

pytestmark = pytest.mark.unit

FORM = {"Content-Type": "multipart/form-data; boundary=b"}
SIZES = [1_000, 40_000, 3_000_000, 40_000_000]


def by_http_client(port: int, body: bytes) -> int:
    """The status that http.client reads; it sends everything before it reads."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/session", body, FORM)
        answer = connection.getresponse()
        assert answer.read().startswith(b"{")
        return answer.status
    finally:
        connection.close()


def by_urllib(port: int, body: bytes) -> int:
    """The status that urllib reads; it asks for the connection to be closed."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/session", body, FORM)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    with caught.value as answer:
        assert answer.read().startswith(b"{")
        return answer.code


def by_httpx(port: int, body: bytes) -> int:
    """The status that httpx reads."""
    return httpx.post(f"http://127.0.0.1:{port}/session", content=body, headers=FORM).status_code


def by_httpx_in_chunks(port: int, body: bytes) -> int:
    """The same without a Content-Length."""
    chunks = (body[k : k + 65_536] for k in range(0, len(body), 65_536))
    return httpx.post(f"http://127.0.0.1:{port}/session", content=chunks, headers=FORM).status_code


CLIENTS = [by_http_client, by_urllib, by_httpx, by_httpx_in_chunks]


async def statuses(caller: Caller, body: bytes) -> set[int]:
    """What the clients read, one after the other."""
    return {await asyncio.to_thread(client, caller.port, body) for client in CLIENTS}


@pytest.mark.parametrize("size", SIZES)
async def test_a_full_server_says_so_whatever_is_uploaded(size: int) -> None:
    async with serving(max_sessions=1) as caller:
        await caller.create()
        assert await statuses(caller, bytes(size)) == {503}


@pytest.mark.parametrize("size", SIZES[2:])
async def test_what_is_too_large_is_told_so(size: int) -> None:
    async with serving(max_upload_bytes=100_000) as caller:
        assert await statuses(caller, bytes(size)) == {413}


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("options", [[], ["-H", "Expect:"]], ids=["asks first", "sends at once"])
async def test_curl_reads_it_too(tmp_path: Path, options: list[str]) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(bytes(40_000_000))
    async with serving(max_upload_bytes=100_000) as caller:
        process = await asyncio.create_subprocess_exec(
            *["curl", "-sS", "-X", "POST", "-o", "-", "-w", "%{http_code}"],
            *["-H", f"Content-Type: {FORM['Content-Type']}", *options],
            *["--data-binary", f"@{upload}", f"http://127.0.0.1:{caller.port}/session"],
            stdout=asyncio.subprocess.PIPE,
        )
        shown, _ = await process.communicate()
    assert process.returncode == 0 and shown.endswith(b"413")


async def test_a_small_rest_keeps_the_connection() -> None:
    async with serving(max_sessions=1) as caller:
        await caller.create()
        answer = await caller.http.post("/session", content=bytes(60_000), headers=FORM)
        assert answer.status_code == 503 and "connection" not in answer.headers


async def test_nobody_is_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "IDLE_S", 0.01)
    sent = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    async def silent() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": [(b"content-length", b"9000000")]}
    await EarlyAnswer(app)(scope, silent, send)
    assert sent[0]["headers"] == [(b"connection", b"close")]
    assert [message.get("body") for message in sent[1:]] == [b"no", b""]
    assert [message.get("more_body", False) for message in sent[1:]] == [True, False]
