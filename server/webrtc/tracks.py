"""A track of packets that are already encoded, each sent at its own moment."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError


class PacketTrack(MediaStreamTrack):
    """Hands aiortc's sender one packet after the other; never encodes.

    The queue holds ``capacity`` packets. What happens when it is full is the owner's decision:
    ``put`` says no, and the owner calls ``drop_all`` or ``drop_oldest``.
    """

    def __init__(
        self,
        kind: str,
        clock_rate: int,
        capacity: int,
        on_sent: Callable[[float], None] = lambda _: None,
    ) -> None:
        """``clock_rate`` in Hz is the unit of ``put``'s timestamps; ``on_sent`` gets the seconds
        by which each packet leaves after it was due."""
        super().__init__()
        self._on_sent = on_sent
        self.kind = kind
        self._time_base = Fraction(1, clock_rate)
        self._capacity = capacity
        self._queue: deque[tuple[float, int, bytes]] = deque()  # bounded: see put
        self._filled = asyncio.Event()

    def put(self, timestamp: int, payload: bytes, due: float) -> bool:
        """Queue a packet to leave at ``due`` (event loop time); False if the queue is full."""
        if len(self._queue) >= self._capacity:
            return False
        self._queue.append((due, timestamp, payload))
        self._filled.set()
        return True

    def drop_all(self) -> int:
        """Empty the queue; how many packets were dropped."""
        dropped = len(self._queue)
        self._queue.clear()
        self._filled.clear()
        return dropped

    def drop_oldest(self) -> None:
        """Make room for one packet."""
        if self._queue:
            self._queue.popleft()

    async def recv(self) -> av.Packet[Any]:
        """Wait for the next packet and for its moment (called by aiortc's sender)."""
        while not self._queue:
            if self.readyState != "live":
                raise MediaStreamError
            self._filled.clear()
            await self._filled.wait()
        due, timestamp, payload = self._queue.popleft()
        early = due - asyncio.get_running_loop().time()
        if early > 0:
            await asyncio.sleep(early)
        self._on_sent(asyncio.get_running_loop().time() - due)
        packet: av.Packet[Any] = av.Packet(payload)
        packet.pts = timestamp
        packet.time_base = self._time_base
        return packet

    def stop(self) -> None:
        """End the track; a waiting sender ends with it."""
        super().stop()
        self._queue.clear()
        self._filled.set()
