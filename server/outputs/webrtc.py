"""A WebRTC peer as output: hands units on while the call is connected."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from server.media.av_frame import AVFrame
from server.session.events import Event
from server.session.output import KeyframeGate, Video

if TYPE_CHECKING:
    from server.webrtc.peer import Peer


class PeerOutput:
    """Wraps a ``Peer``; events do not travel in a call, they need a WebSocket beside it."""

    video: Video = "h264"

    def __init__(self, peer: Peer, request_keyframe: Callable[[], None]) -> None:
        self.peer = peer
        self.dropped_units = 0
        self._gate = KeyframeGate(request_keyframe)

    @property
    def ready(self) -> bool:
        """Whether the call is up."""
        return self.peer.connected

    def send(self, unit: AVFrame) -> None:
        """Send a unit if somebody is there and it can be decoded."""
        if self.peer.connected and self._gate.lets(unit):
            self.peer.send(unit)

    def event(self, event: Event) -> None:
        """Calls carry no events."""

    def clear(self) -> None:
        """Drop what the call has not sent yet."""
        self.peer.clear()

    async def aclose(self) -> None:
        """End the call."""
        await self.peer.aclose()
