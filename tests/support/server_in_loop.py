"""The real HTTP server in the test's own loop, and a caller for its REST and WebSocket sides."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI
from websockets.asyncio.client import ClientConnection, connect

from server.app import create_app
from server.assets import BundledAssets, BundledAvatar, BundledClip, draw_portrait
from server.clock import SystemClock
from server.media.av_frame import HEADER, MAGIC
from server.serve import Server, server_config
from server.session.workers import Workers
from server.settings import Settings
from server.telemetry.telemetry import Telemetry
from tests.support.sound import speech
from tests.support.workers import FakeWorkers

ASSETS = BundledAssets(
    [BundledAvatar("ada", "Ada", draw_portrait()), BundledAvatar("bob", "Bob", draw_portrait(300))],
    [BundledClip("hello", "Hello", "Hello there.", b"RIFF....WAVE")],
)
TIMEOUT_S = 20.0


class QuietServer(Server):
    """Leaves the test runner's signal handlers alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@dataclass
class Unpacked:
    """A frame as it arrived."""

    flags: int
    epoch: int
    index: int
    video: bytes
    audio: bytes

    @property
    def speaking(self) -> bool:
        """Whether the slice holds speech."""
        return bool(self.flags & 2)


def unpack(message: bytes) -> Unpacked:
    """Read a binary message back."""
    magic, flags, epoch, index, video, audio = HEADER.unpack_from(message)
    assert magic == MAGIC and len(message) == HEADER.size + video + audio
    body = message[HEADER.size :]
    return Unpacked(flags, epoch, index, body[:video], body[video:])


class Socket:
    """A WebSocket caller."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, **message: Any) -> None:
        """Send a JSON message."""
        await self.connection.send(json.dumps(message))

    async def send(self, data: bytes | str) -> None:
        """Send as it is."""
        await self.connection.send(data)

    async def speak(self) -> dict[str, Any]:
        """Push 0.4 s of speech and wait until it was played; the event that says so."""
        await self.send(speech(0.4, 16_000).tobytes())
        await self.say(type="input_audio_buffer.commit")
        return await self.event("output_audio_buffer.stopped")

    async def next(self) -> Unpacked | dict[str, Any]:
        """The next frame or event."""
        message = await asyncio.wait_for(self.connection.recv(), TIMEOUT_S)
        if isinstance(message, bytes):
            return unpack(message)
        event: dict[str, Any] = json.loads(message)
        return event

    async def event(self, kind: str) -> dict[str, Any]:
        """The next event of a type; frames and other events pass."""
        while True:
            item = await self.next()
            if isinstance(item, dict) and item["type"] == kind:
                return item

    async def frame(self, *, speaking: bool = False) -> Unpacked:
        """The next frame; with ``speaking`` the next that holds speech."""
        while True:
            item = await self.next()
            if isinstance(item, Unpacked) and (item.speaking or not speaking):
                return item


@dataclass
class Caller:
    """A running server as its callers see it."""

    http: httpx.AsyncClient
    port: int
    app: FastAPI
    workers: Workers
    server: QuietServer

    async def create(self, avatar_id: str = "ada", mode: str = "speak") -> dict[str, Any]:
        """Create a session; its description."""
        answer = await self.http.post("/session", json={"avatar_id": avatar_id, "mode": mode})
        assert answer.status_code == 201, answer.text
        described: dict[str, Any] = answer.json()
        return described

    async def delete(self, session: dict[str, Any]) -> int:
        """End a session; the status."""
        path = f"/session/{session['session_id']}"
        return (await self.http.delete(path, headers=bearer(session))).status_code

    @asynccontextmanager
    async def stream(self, session: dict[str, Any], **query: str) -> AsyncIterator[Socket]:
        """A WebSocket on a session."""
        query = {"token": session["token"], **query}
        path = session["media"]["ws_url"] + "?" + str(httpx.QueryParams(query))
        async with connect(f"ws://127.0.0.1:{self.port}{path}", max_size=None) as connection:
            yield Socket(connection)


def bearer(session: dict[str, Any]) -> dict[str, str]:
    """The header that a session's token makes."""
    return {"Authorization": f"Bearer {session['token']}"}


@asynccontextmanager
async def serving(
    workers: Workers | None = None, *, telemetry: Telemetry | None = None, **settings: Any
) -> AsyncIterator[Caller]:
    """A server on a free port; fake workers unless given."""
    chosen = Settings(
        **{"port": 0, "model": "fake", "avatars_dir": "/dev/null/avatars", **settings}
    )
    workers = workers or FakeWorkers(SystemClock())
    app = create_app(chosen, workers, assets=ASSETS, telemetry=telemetry)
    server = QuietServer(server_config(chosen, app))
    task = asyncio.create_task(server.serve(), name="server-under-test")
    while not server.started:
        assert not task.done(), "the server did not start"
        await asyncio.sleep(0.005)
    url = f"http://127.0.0.1:{server.port}"
    try:
        async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S) as http:
            yield Caller(http, server.port, app, workers, server)
    finally:
        server.should_exit = True
        await task
