"""Server-sent events as output: the events of a session, without media.

**Bound**: ``MAX_EVENTS``. **Drop rule**: none; a reader that leaves more unread is disconnected.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from server.media.av_frame import AVFrame
from server.session.events import Event
from server.session.output import Video

MAX_EVENTS = 256


class EventStream:
    """One reader of events. Implements ``Output``; ``read`` gives what to send."""

    video: Video = "none"
    media = False
    bitrate = 0
    ready = False
    dropped_frames = 0

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue(MAX_EVENTS + 1)
        self._closed = False

    def send(self, frame: AVFrame) -> None:
        """Do nothing: this shows no pictures."""

    def event(self, event: Event) -> None:
        """Queue an event; the one too many is the last."""
        if self._closed:
            return
        if self._queue.qsize() >= MAX_EVENTS:
            self._finish()
            return
        self._queue.put_nowait(event)

    def clear(self) -> None:
        """Do nothing: events stay."""

    async def aclose(self) -> None:
        """Send what is queued, then end."""
        self._finish()

    async def read(self) -> AsyncIterator[Event]:
        """The events until this ends."""
        while (event := await self._queue.get()) is not None:
            yield event

    def _finish(self) -> None:
        if not self._closed:
            self._closed = True
            self._queue.put_nowait(None)
