"""What was sent and is not read yet is bounded, in this machine's buffers and in the reader's."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from server.outputs.thin_buffers import HELD_BYTES, PROBE_S, ThinWebSocket

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is under way"),
]

FRAME = bytes(4096)


class Transport:
    """As much of a transport as a connection needs to be made."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.high: int | None = None

    def set_write_buffer_limits(self, high: int) -> None:
        """Remember the bound."""
        self.high = high

    def get_extra_info(self, name: str) -> Any:
        """The socket."""
        return self.socket if name == "socket" else None


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection on this machine, which takes megabytes unread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reader = socket.create_connection(listener.getsockname())
        writer, _ = listener.accept()
    with reader, writer:
        writer.setblocking(False)
        yield writer, reader


def connected(writer: socket.socket) -> ThinWebSocket:
    """The protocol of a connection."""
    protocol = ThinWebSocket(uvicorn.Config(lambda: None, log_config=None), ServerState(), {})
    transport = Transport(writer)
    protocol.connection_made(cast(asyncio.Transport, transport))
    assert transport.high == 0
    return protocol


async def fill(protocol: ThinWebSocket, writer: socket.socket, most: int) -> int:
    """Send frames until there is no room; bytes sent."""
    sent = 0
    while sent < most:
        room = asyncio.create_task(protocol.wait_for_room())
        done, _ = await asyncio.wait({room}, timeout=PROBE_S / 4)
        if not done:
            room.cancel()
            await asyncio.gather(room, return_exceptions=True)
            break
        sent += writer.send(FRAME)
        await asyncio.sleep(0.005)  # the other end acknowledges
    return sent


async def test_little_is_sent_to_one_who_does_not_read(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    writer, _ = ends
    protocol = connected(writer)
    assert await fill(protocol, writer, 1_000_000) <= HELD_BYTES + 4 * len(FRAME)


async def test_one_who_reads_gets_everything(ends: tuple[socket.socket, socket.socket]) -> None:
    writer, reader = ends
    protocol = connected(writer)
    for _ in range(100):
        sent = await fill(protocol, writer, len(FRAME))
        assert sent == len(FRAME)
        while sent:
            sent -= len(reader.recv(sent))


async def test_one_who_reads_again_is_sent_to_again(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    writer, reader = ends
    protocol = connected(writer)
    waiting = await fill(protocol, writer, 1_000_000)
    while waiting:
        waiting -= len(reader.recv(waiting))
    for _ in range(3):
        await asyncio.wait_for(protocol.wait_for_room(), 20)
        writer.send(FRAME)


async def test_nobody_waits_at_a_connection_that_is_gone(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    writer, _ = ends
    protocol = connected(writer)
    await fill(protocol, writer, 1_000_000)
    protocol.disconnected = True
    await asyncio.wait_for(protocol.wait_for_room(), 20)
