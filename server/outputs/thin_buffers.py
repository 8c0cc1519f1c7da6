"""The WebSocket protocol of the HTTP server, with buffers that hold little.

What waits for its reader shall wait in ``WebSocketOutput``, which can drop it. What went further,
to the loop's buffer, the kernel's or the reader's own, arrives however late; kernels would take
megabytes. So nothing is sent while ``HELD_BYTES`` are under way. Where the system does not tell
(other than Linux 5.4), the kernel's default buffers are all that bounds it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from asyncio.transports import BaseTransport
from collections.abc import Awaitable, Callable
from typing import Any, cast

from starlette.websockets import WebSocket
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

HELD_BYTES = 32 * 1024
"""Sent and not yet read, as far as can be seen: 0.3 s of a session's frames, more on long ways."""
LONG_WAY_BYTES_S = 300_000
"""What a session takes at most: so much more may be under way per second of a round trip."""
POLL_S = 0.01
PROBE_S, MAX_PROBE_S = 0.2, 1.6
"""A reader's window is true when something has just come: so often is it asked by a frame, and less
often while it becomes narrower."""
SAME_BYTES = 512
SURE = 5
_ROOM = "livehead.room"
_TCP_INFO = struct.Struct("=120xQ16xII48xQQ12xI")
"""Of Linux's tcp_info: bytes_acked, notsent_bytes, min_rtt, bytes_sent, bytes_retrans, snd_wnd."""


class ThinWebSocket(WebSocketsSansIOProtocol):
    """Gives the application a coroutine function that waits for room (``room_of``)."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Bound the loop's buffer of a new connection."""
        cast(asyncio.Transport, transport).set_write_buffer_limits(high=0)
        self._socket: socket.socket | None = transport.get_extra_info("socket")
        self._widest = self._asked = self._acked = self._times_same = 0
        self._ask_at, self._pause_s = 0.0, PROBE_S
        super().connection_made(transport)

    async def run_asgi(self) -> None:
        """Run the application."""
        extensions: dict[str, Any] = {**(self.scope["extensions"] or {}), _ROOM: self.wait_for_room}
        self.scope["extensions"] = extensions
        await super().run_asgi()

    async def wait_for_room(self) -> None:
        """Return when what is sent next is read soon, or nobody is there."""
        await self.writable.wait()
        while not self.disconnected and self._is_full():
            await asyncio.sleep(POLL_S)

    def _is_full(self) -> bool:
        """Whether too much is under way: unsent, unacknowledged, or in the reader's own buffer.

        That one holds as much as its window is narrower than at its widest; if it stays as wide
        each time that it is asked, the buffer is empty, and has become smaller.
        """
        if self._socket is None or sys.platform != "linux":
            return False
        try:
            told = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        except OSError:  # it is closed, or not TCP
            return False
        if len(told) < _TCP_INFO.size:
            return False
        acked, unsent, round_trip_us, sent, again, window = _TCP_INFO.unpack(told)
        self._widest = max(self._widest, window)
        under_way = unsent + max(0, sent - again - acked)
        room = HELD_BYTES + round_trip_us * 1e-6 * LONG_WAY_BYTES_S - under_way
        if room < 0 or self._widest - window <= room:
            return bool(room < 0)
        if (now := self.loop.time()) < self._ask_at:
            return True
        same = acked > self._acked and abs(window - self._asked) < SAME_BYTES
        self._times_same = self._times_same + 1 if same else 0
        if self._times_same >= SURE:
            self._widest = window
        slower = acked > self._acked and window < self._asked and not same
        self._pause_s = min(2 * self._pause_s, MAX_PROBE_S) if slower else PROBE_S
        self._asked, self._acked, self._ask_at = window, acked, now + self._pause_s
        return False


def room_of(socket: WebSocket) -> Callable[[], Awaitable[None]] | None:
    """What waits until the connection of a WebSocket has room; None where it cannot be told."""
    wait: Callable[[], Awaitable[None]] | None = socket.scope.get("extensions", {}).get(_ROOM)
    return wait
