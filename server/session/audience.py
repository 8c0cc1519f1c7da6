"""All outputs attached to one session, as one."""

from __future__ import annotations

import asyncio

from server.media.av_frame import AVFrame
from server.media.encoders import VIDEO_CODECS, VideoCodec
from server.session.events import Event
from server.session.output import Output


class Audience:
    """The outputs of a session, in the order in which they were attached."""

    def __init__(self) -> None:
        self._outputs: list[Output] = []
        self._dropped_before = 0

    def __len__(self) -> int:
        return len(self._outputs)

    def __contains__(self, output: Output) -> bool:
        return output in self._outputs

    @property
    def watches(self) -> bool:
        """Whether any output shows pictures."""
        return any(output.video != "none" for output in self._outputs)

    @property
    def takes_part(self) -> bool:
        """Whether any output's caller does more than listen to events."""
        return any(output.media for output in self._outputs)

    @property
    def wants_jpeg(self) -> bool:
        """Whether any output shows JPEG pictures."""
        return any(output.video == "jpeg" for output in self._outputs)

    @property
    def codecs(self) -> dict[VideoCodec, int]:
        """The codecs of moving pictures that are watched, each with its ceiling in bit/s.

        The slowest link decides; 0 leaves it to the encoder.
        """
        links = {
            codec: [output.bitrate for output in self._outputs if output.video == codec]
            for codec in VIDEO_CODECS
        }
        return {
            codec: min(filter(None, rates), default=0) for codec, rates in links.items() if rates
        }

    @property
    def ready(self) -> bool:
        """Whether a frame sent now would be seen."""
        return any(output.ready for output in self._outputs)

    @property
    def dropped_frames(self) -> int:
        """Frames that outputs, attached and detached, could not take in time."""
        return self._dropped_before + sum(output.dropped_frames for output in self._outputs)

    def add(self, output: Output) -> None:
        """Attach an output."""
        self._outputs.append(output)

    def remove(self, output: Output) -> None:
        """Detach an output; it must be attached."""
        self._outputs.remove(output)
        self._dropped_before += output.dropped_frames

    def send(self, frame: AVFrame) -> None:
        """Send a frame to every output."""
        for output in self._outputs:
            output.send(frame)

    def event(self, event: Event) -> None:
        """Send an event to every output."""
        for output in self._outputs:
            output.event(event)

    def clear(self) -> None:
        """Drop the frames that outputs have queued."""
        for output in self._outputs:
            output.clear()

    async def aclose(self) -> None:
        """End every output."""
        await asyncio.gather(*(output.aclose() for output in self._outputs), return_exceptions=True)
