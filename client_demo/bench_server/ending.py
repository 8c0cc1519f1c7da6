"""Ends sessions in mixed ways, and weighs what they leave behind in a server of their own.

Sessions that end the same ways come first, so that pools and caches are filled when the server is
weighed; then it is weighed again after those that count.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from multiprocessing.connection import Connection

from websockets.asyncio.client import ClientConnection, connect

from client_demo.bench_server.call_peer import CallPeer
from client_demo.bench_server.options import BenchOptions
from client_demo.bench_server.peer_process import peer_process, receive
from client_demo.bench_server.processes import Usage
from client_demo.bench_server.server_process import BenchedServer, run_server
from client_demo.bench_server.utterance import load_utterance
from client_demo.frames import unpack
from client_demo.rest import RequestFailed, Rest, Ticket
from models.errors import LiveheadError

ALONE_S = 2  # a session that nobody came to, or that somebody left, ends after so long
AT_ONCE = 6
ROUNDS_BEFORE = 10  # each way of ending, before the server is weighed
SETTLE_S = 5.0
FRAMES = 12  # received before a session ends
PATIENCE_S = 60.0
FULL_PAUSE_S = 0.5


@dataclass(frozen=True)
class Weighed:
    """Gateway, workers, open sessions and tasks of the gateway at one moment."""

    gateway: Usage
    workers: Usage
    sessions: int
    tasks: int


def weigh_endings(
    options: BenchOptions, done: Callable[[float], object]
) -> tuple[Weighed, Weighed]:
    """Weigh a server before and after ``options.ended`` sessions.

    Args:
        done: called with 1 after each that ended, those that come first included.

    Raises:
        LiveheadError: a session could not be opened or received from.
    """
    own = {"LIVEHEAD_IDLE_TIMEOUT_S": str(ALONE_S), "LIVEHEAD_RESUME_S": str(ALONE_S)}
    with run_server(options.server_flags(), own) as server:
        _end(server, sessions_before(), done)
        before = _weigh(server)
        _end(server, options.ended, done)
        return before, _weigh(server)


def sessions_before() -> int:
    """How many sessions end before the server is weighed."""
    return ROUNDS_BEFORE * len(WAYS)


def _end(server: BenchedServer, count: int, done: Callable[[float], object]) -> None:
    at_once = max(1, min(AT_ONCE, server.readiness()["max_sessions"]))
    with peer_process(end_sessions, server.url, count, at_once, load_utterance()) as ended:
        for _ in range(count):
            receive(ended)
            done(1)


def _weigh(server: BenchedServer) -> Weighed:
    left = server.wait_empty()
    time.sleep(SETTLE_S)
    return Weighed(server.gateway(), server.workers(), left, server.tasks())


async def end_sessions(
    connection: Connection, url: str, count: int, at_once: int, pcm: bytes
) -> None:
    """Open and end sessions, ``at_once`` at a time; sends the way after each."""
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            name, way = WAYS[number % len(WAYS)]
            async with asyncio.timeout(PATIENCE_S):
                await _when_there_is_room(way, url, pcm)
            connection.send(name)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(some())
    except ExceptionGroup as errors:
        first = errors.exceptions[0]
        if isinstance(first, TimeoutError):
            raise LiveheadError(
                f"expected a session and its frames within {PATIENCE_S:.0f} s, got none;"
                " run with fewer --ended, or see `livehead serve`",
                code="not_ready",
            ) from errors
        raise first from errors


async def _when_there_is_room(way: Way, url: str, pcm: bytes) -> None:
    while True:
        try:
            return await way(url, pcm)
        except RequestFailed as error:
            if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
        await asyncio.sleep(FULL_PAUSE_S)


async def _deleted(url: str, _: bytes) -> None:
    """DELETE while the WebSocket is open."""
    rest, ticket, socket = await _attach(url)
    await _receive(socket)
    await rest.delete(ticket)
    await socket.close()


async def _left(url: str, _: bytes) -> None:
    """The WebSocket is closed as it should be."""
    socket = (await _attach(url))[-1]
    await _receive(socket)
    await socket.close()


async def _cut(url: str, _: bytes) -> None:
    """The connection breaks without a close."""
    socket = (await _attach(url))[-1]
    await _receive(socket)
    socket.transport.abort()


async def _never_attached(url: str, _: bytes) -> None:
    """Nobody comes."""
    await Rest(url).create(None, None, "speak")


async def _interrupted(url: str, pcm: bytes) -> None:
    """Interrupted in the midst of speech, then closed and deleted."""
    rest, ticket, socket = await _attach(url)
    await socket.send(pcm)
    await socket.send('{"type": "input_audio_buffer.commit"}')
    await _receive(socket, speaking=True)
    await socket.send('{"type": "response.cancel"}')
    await _receive(socket)
    await socket.close()
    await rest.delete(ticket)


async def _hung_up(url: str, pcm: bytes) -> None:
    """A call that spoke is hung up."""
    peer = CallPeer(url)
    await peer.open()
    await peer.push(pcm)
    await peer.commit()
    while len(peer.arrivals) < FRAMES:
        await asyncio.sleep(0.01)
    await peer.hang_up()


Way = Callable[[str, bytes], Awaitable[None]]
WAYS: tuple[tuple[str, Way], ...] = (
    ("deleted", _deleted),
    ("left", _left),
    ("cut", _cut),
    ("never attached", _never_attached),
    ("interrupted", _interrupted),
    ("hung up", _hung_up),
)


async def _attach(url: str) -> tuple[Rest, Ticket, ClientConnection]:
    rest = Rest(url)
    ticket = await rest.create(None, None, "speak")
    address = rest.stream_url(ticket, "h264")
    return rest, ticket, await connect(address, max_size=None, ping_interval=None)


async def _receive(socket: ClientConnection, *, speaking: bool = False) -> None:
    """Receive ``FRAMES`` frames, those that speak alone if so."""
    left = FRAMES
    while left:
        message = await socket.recv()
        if isinstance(message, bytes):
            left -= unpack(message).speaking or not speaking
