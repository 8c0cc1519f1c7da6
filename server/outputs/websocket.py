"""A WebSocket as output: frames as binary messages, events as text, in the order they happened.

**Bound**: ``MAX_FRAMES`` frames (0.4 s at 25 fps) and ``MAX_EVENTS`` events. **Drop rule**: a
slow reader that fills the queue loses every queued frame, picture and sound, and goes on at
the next keyframe: what arrives is late by little rather than complete. An interrupt drops queued
frames likewise. Events are never dropped; a reader that leaves more unread is disconnected.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from server.media.av_frame import AVFrame, pack
from server.session.events import Event
from server.session.output import KeyframeGate, Video

log = logging.getLogger(__name__)

MAX_FRAMES = 10
MAX_EVENTS = 256
CLOSE_GRACE_S = 1.0
NORMAL_CLOSURE = 1000
TOO_SLOW = 4408


class WebSocketOutput:
    """One accepted socket. Implements ``Output``; sends in a task, from ``start`` to ``aclose``."""

    def __init__(
        self,
        socket: WebSocket,
        video: Video,
        request_keyframe: Callable[[], None],
        wait_for_room: Callable[[], Awaitable[None]] | None = None,
        on_sent: Callable[[float], None] = lambda _: None,
    ) -> None:
        """``on_sent`` gets the seconds that each frame took from ``send`` to the socket."""
        self._on_sent = on_sent
        self.video = video
        self.media = True
        self.bitrate = 0
        self._wait_for_room = wait_for_room
        self.dropped_frames = 0
        self._socket = socket
        self._gate = KeyframeGate(request_keyframe)
        self._queue: deque[tuple[float, AVFrame] | str] = deque()
        self._queued_frames = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._code = NORMAL_CLOSURE
        self._task: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """A connected socket is ready to show."""
        return self.video != "none" and not self._closing

    def send(self, frame: AVFrame) -> None:
        """Queue a frame if this socket shows pictures and can decode it."""
        if self.video == "none" or self._closing:
            return
        if self.video == "jpeg":
            if not frame.jpeg:
                return
        elif not self._gate.passes(frame):
            return
        if self._queued_frames >= MAX_FRAMES:
            self.dropped_frames += self._queued_frames
            self._drop_frames()
            if self.video == "h264" and not frame.keyframe:
                self._gate.close()
                self.dropped_frames += 1
                return
        self._queue.append((asyncio.get_running_loop().time(), frame))
        self._queued_frames += 1
        self._wake.set()

    def event(self, event: Event) -> None:
        """Queue an event."""
        if self._closing:
            return
        self._queue.append(json.dumps(event, separators=(",", ":")))
        if len(self._queue) - self._queued_frames > MAX_EVENTS:
            self._queue.clear()
            self._queued_frames = 0
            self._code = TOO_SLOW
            self._finish()
        self._wake.set()

    def clear(self) -> None:
        """Drop queued frames; events stay."""
        if self._queued_frames:
            self._drop_frames()
            self._gate.close()

    def start(self) -> None:
        """Begin to send what is queued."""
        self._task = asyncio.create_task(self._run(), name="websocket-sender")

    async def wait_closed(self) -> None:
        """Return once nothing more will be sent."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def aclose(self) -> None:
        """Let the queue run out for a moment, then close the socket."""
        self._finish()
        if self._task is None:
            return
        await asyncio.wait({self._task}, timeout=CLOSE_GRACE_S)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        """Send until the reader is gone or everything was sent after ``aclose``."""
        try:
            while await self._send_queued():
                self._wake.clear()
                await self._wake.wait()
            if self._socket.application_state is WebSocketState.CONNECTED:
                await self._socket.close(self._code)
        except (WebSocketDisconnect, RuntimeError, OSError):
            log.debug("a reader left while it was sent to")
        finally:
            self._closing = True

    async def _send_queued(self) -> bool:
        """Send what is queued; whether there may be more."""
        while self._queue:
            if self._wait_for_room is not None:
                await self._wait_for_room()  # what is queued may be dropped meanwhile
                if not self._queue:
                    break
            item = self._queue.popleft()
            if isinstance(item, str):
                await self._socket.send_text(item)
            else:
                self._queued_frames -= 1
                queued_at, frame = item
                await self._socket.send_bytes(pack(frame, jpeg=self.video == "jpeg"))
                self._on_sent(asyncio.get_running_loop().time() - queued_at)
        return not self._closing

    def _finish(self) -> None:
        self._closing = True
        self._wake.set()

    def _drop_frames(self) -> None:
        self._queue = deque(item for item in self._queue if isinstance(item, str))
        self._queued_frames = 0
