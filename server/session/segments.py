"""Tracks which segment plays: yields when one started, stopped or was cleared.

For every segment exactly one ``started`` and then exactly one ``stopped`` or ``cleared``, whatever
happens. A segment has stopped when something else is played after its last frame, so ``stopped``
never comes before the sound was sent. Pure logic; knows nothing about sockets.
"""

from __future__ import annotations

from collections.abc import Iterator

from server.media.av_frame import OUTPUT_RATE
from server.session.incoming import FrameTag, Segment


class SegmentTracker:
    """The segment that is being played and how much of it was."""

    def __init__(self) -> None:
        self.current: Segment | None = None
        self._samples = 0

    @property
    def position_ms(self) -> int:
        """Milliseconds of the current segment that were played."""
        return round(1000 * self._samples / OUTPUT_RATE)

    def play(self, tag: FrameTag) -> Iterator[tuple[str, Segment, int]]:
        """Take the tag of the frame that is played now.

        Yields:
            Event name (``started`` or ``stopped``), segment, playback position in milliseconds.
        """
        if tag.segment is not self.current:
            yield from self.end("stopped")
            if tag.segment is not None:
                self.current = tag.segment
                yield "started", tag.segment, 0
        if self.current is not None:
            self._samples += tag.samples

    def end(self, name: str) -> Iterator[tuple[str, Segment, int]]:
        """End the current segment, if there is one, as ``stopped`` or ``cleared``."""
        if self.current is not None:
            segment, position = self.current, self.position_ms
            self.current, self._samples = None, 0
            yield name, segment, position
