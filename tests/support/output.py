"""An output that remembers when it got what."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from server.clock import Clock
from server.media.av_frame import AVFrame
from server.session.events import Event
from server.session.output import Shown


class Recorder:
    """Implements ``Output``."""

    def __init__(self, clock: Clock, video: Shown = "h264", *, ready: bool = True) -> None:
        self.video = video
        self.media = True
        self.bitrate = 0
        self.dropped_frames = 0
        self.ready = ready
        self.frames: list[tuple[float, AVFrame]] = []
        self.events: list[tuple[float, Event]] = []
        self.cleared: list[float] = []
        self.closed = False
        self._clock = clock

    def send(self, frame: AVFrame) -> None:
        """Remember a frame."""
        self.frames.append((self._clock.now(), frame))

    def event(self, event: Event) -> None:
        """Remember an event."""
        self.events.append((self._clock.now(), event))

    def clear(self) -> None:
        """Remember when."""
        self.cleared.append(self._clock.now())

    async def aclose(self) -> None:
        """Remember the end."""
        self.closed = True

    def names(self, prefix: str = "output_audio_buffer") -> list[str]:
        """The last words of the events whose type begins so, in order."""
        kinds = [event["type"] for _, event in self.events]
        return [kind.removeprefix(prefix).lstrip(".") for kind in kinds if kind.startswith(prefix)]

    def event_of(self, kind: str) -> tuple[float, Event]:
        """The first event of a type and its time."""
        return next((at, event) for at, event in self.events if event["type"] == kind)

    @property
    def times(self) -> list[float]:
        """When frames came."""
        return [at for at, _ in self.frames]

    @property
    def speaking(self) -> list[tuple[float, AVFrame]]:
        """Frames that hold speech."""
        return [(at, frame) for at, frame in self.frames if frame.speaking]

    def sound(self, *, speaking_only: bool = True) -> NDArray[np.int16]:
        """The sound of all frames in a row, int16 at 48 kHz."""
        chosen = self.speaking if speaking_only else self.frames
        return np.frombuffer(b"".join(frame.pcm for _, frame in chosen), np.int16)
