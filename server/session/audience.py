"""Everybody attached to one session: who watches, who is ready, who gets what."""

from __future__ import annotations

import asyncio

from server.media.av_frame import AVFrame
from server.session.events import Event
from server.session.output import Output


class Audience:
    """The outputs of a session, in the order in which they came."""

    def __init__(self) -> None:
        self._outputs: list[Output] = []
        self._dropped_before = 0

    def __len__(self) -> int:
        return len(self._outputs)

    def __contains__(self, output: Output) -> bool:
        return output in self._outputs

    @property
    def watches(self) -> bool:
        """Whether anybody shows pictures."""
        return any(output.video != "none" for output in self._outputs)

    @property
    def wants_jpeg(self) -> bool:
        """Whether anybody shows JPEG pictures."""
        return any(output.video == "jpeg" for output in self._outputs)

    @property
    def ready(self) -> bool:
        """Whether a unit sent now would be seen by anybody."""
        return any(output.ready for output in self._outputs)

    @property
    def dropped_frames(self) -> int:
        """Units that outputs, present and gone, could not take in time."""
        return self._dropped_before + sum(output.dropped_frames for output in self._outputs)

    def add(self, output: Output) -> None:
        """Let an output in."""
        self._outputs.append(output)

    def remove(self, output: Output) -> None:
        """Let an output go; it must be present."""
        self._outputs.remove(output)
        self._dropped_before += output.dropped_frames

    def send(self, frame: AVFrame) -> None:
        """Hand a unit to everybody."""
        for output in self._outputs:
            output.send(frame)

    def event(self, event: Event) -> None:
        """Hand an event to everybody."""
        for output in self._outputs:
            output.event(event)

    def clear(self) -> None:
        """Let nobody get what is queued."""
        for output in self._outputs:
            output.clear()

    async def aclose(self) -> None:
        """End every output."""
        await asyncio.gather(*(output.aclose() for output in self._outputs), return_exceptions=True)
