"""A peer of the bench: holds one session, notes when frames arrive, and can speak."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from client_demo.bench_server.options import PeerKind
from client_demo.client import ClientSession
from client_demo.frames import ReceivedFrame
from client_demo.rest import RequestFailed


class BenchPeer(Protocol):
    """One session and its media, whichever way they travel.

    Attributes:
        arrivals: when each frame had arrived, seconds of ``time.monotonic``.
        sees_speech: whether frames tell that they speak.
        speaking: whether the last frame spoke.
        spoke_at: when the first frame that speaks arrived since this was None.
    """

    arrivals: list[float]
    sees_speech: bool
    speaking: bool
    spoke_at: float | None

    async def open(self) -> None:
        """Create the session and receive.

        Raises:
            RequestFailed: the server refuses, or vanishes.
        """
        ...

    async def push(self, pcm: bytes) -> None:
        """Send s16le mono speech at 16 kHz."""
        ...

    async def commit(self) -> None:
        """End the segment."""
        ...

    async def milliseconds_per_frame(self) -> float:
        """What the server says that the last chunk of this session took a frame."""
        ...

    async def close(self) -> None:
        """End the session; one that never opened, or has ended, is fine."""
        ...


class SocketPeer:
    """Over a WebSocket, as ``ClientSession`` has it."""

    sees_speech = True

    def __init__(self, url: str) -> None:
        self.arrivals: list[float] = []
        self.speaking = False
        self.spoke_at: float | None = None
        self._session = ClientSession(url)
        self._receiving: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Create the session, attach, receive."""
        await self._session.__aenter__()
        self._receiving = asyncio.create_task(self._receive(), name="receive")

    async def push(self, pcm: bytes) -> None:
        """Send speech."""
        await self._session.push(pcm)

    async def commit(self) -> None:
        """End the segment."""
        await self._session.commit()

    async def milliseconds_per_frame(self) -> float:
        """As the server says."""
        return float((await self._session.status())["metrics"]["ms_per_frame"])

    async def close(self) -> None:
        """Detach and end the session."""
        if self._receiving is None:
            return
        self._receiving.cancel()
        await asyncio.gather(self._receiving, return_exceptions=True)
        await self._session.__aexit__(None, None, None)

    async def _receive(self) -> None:
        """Note frames until cancelled; a session that breaks has no more of them."""
        try:
            async for message in self._session:
                if isinstance(message, ReceivedFrame):
                    self._note(message)
        except RequestFailed:
            return

    def _note(self, frame: ReceivedFrame) -> None:
        now = time.monotonic()
        self.arrivals.append(now)
        self.speaking = frame.speaking
        if frame.speaking and self.spoke_at is None:
            self.spoke_at = now


def make_peer(kind: PeerKind, url: str) -> BenchPeer:
    """A peer that is not open yet."""
    if kind == "websocket":
        return SocketPeer(url)
    from client_demo.bench_server.call_peer import CallPeer  # here: few benches need WebRTC

    return CallPeer(url)
