"""The protocol of a session's outputs, and the gate that makes each begin with a keyframe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from server.media.av_frame import AVFrame
from server.session.events import Event

Video = Literal["h264", "jpeg", "none"]
"""What a WebSocket may show."""
Shown = Video | Literal["vp8"]


class Output(Protocol):
    """Somebody attached to a session. ``send`` and ``event`` never wait.

    Attributes:
        media: whether its caller takes part, by sound or pictures; others only listen to events.
        dropped_frames: frames it could not take in time.
    """

    media: bool
    dropped_frames: int

    @property
    def video(self) -> Shown:
        """What it shows; ``none`` takes events only and makes the model do nothing."""
        ...

    @property
    def bitrate(self) -> int:
        """Bit/s that pictures may take on its link; 0 where it does not know."""
        ...

    @property
    def ready(self) -> bool:
        """Whether a frame sent now would be seen; speech waits until somebody is."""
        ...

    def send(self, frame: AVFrame) -> None:
        """Take a frame that is due now."""
        ...

    def event(self, event: Event) -> None:
        """Take an event."""
        ...

    def clear(self) -> None:
        """Drop queued frames, since an interrupt made them old; a keyframe follows."""
        ...

    async def aclose(self) -> None:
        """Deliver what is queued if that is quick, then let go."""
        ...


class KeyframeGate:
    """Closed until a keyframe passes; asks for one while it is closed."""

    def __init__(self, request_keyframe: Callable[[], None], codec: Shown = "h264") -> None:
        self._request_keyframe = request_keyframe
        self._codec = codec
        self._open = False

    def passes(self, frame: AVFrame) -> bool:
        """Whether the frame can be decoded; asks for a keyframe when it cannot."""
        if not frame.picture(self._codec):  # nobody watched this codec when it was made
            self._open = False
        elif not self._open:
            self._open = frame.keyframe
        if not self._open:
            self._request_keyframe()
        return self._open

    def close(self) -> None:
        """Wait for the next keyframe, since frames were left out."""
        self._open = False
