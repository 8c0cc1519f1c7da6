"""The data channel of a call: the session's events to its caller, the caller's messages to it.

**Bound**: ``MAX_MESSAGES`` that wait to be handled, ``MAX_UNSENT_BYTES`` that wait to be sent.
**Drop rule**: nothing is dropped; who sends faster than is handled, or does not read, loses the
channel, and with it nothing but the events.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable

from aiortc import RTCDataChannel

from server.errors import Conflict
from server.session.events import Event

logger = logging.getLogger(__name__)

MAX_MESSAGES = 64
MAX_UNSENT_BYTES = 256 * 1024


class EventChannel:
    """At most one data channel; the last that the caller opened counts."""

    def __init__(self) -> None:
        self._channel: RTCDataChannel | None = None
        self._messages: asyncio.Queue[str | bytes] = asyncio.Queue(MAX_MESSAGES)
        self._greet: Callable[[], None] = lambda: None

    def open(self, channel: RTCDataChannel) -> None:
        """Take a channel that the caller opened."""
        self._channel = channel
        channel.on("message", self._on_message)
        self._greet()

    def send(self, event: Event) -> None:
        """Send an event, if there is a channel."""
        channel = self._channel
        if channel is None or channel.readyState != "open":
            return
        if channel.bufferedAmount > MAX_UNSENT_BYTES:
            self._let_go("does not read")
            return
        channel.send(json.dumps(event, separators=(",", ":")))

    async def run(
        self, take: Callable[[str | bytes], Awaitable[None]], greet: Callable[[], None]
    ) -> None:
        """Handle messages until cancelled or the session ends; ``greet`` is called for each new
        channel."""
        self._greet = greet
        if self._channel is not None:
            greet()
        while True:
            try:
                await take(await self._messages.get())
            except Conflict:
                return

    def _on_message(self, message: str | bytes) -> None:
        try:
            self._messages.put_nowait(message)
        except asyncio.QueueFull:
            self._let_go("sends more than is handled")

    def _let_go(self, why: str) -> None:
        logger.info("a data channel is closed: its caller %s", why)
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
