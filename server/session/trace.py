"""The spans of one session: its segments and chunks, children of the span of its creation."""

from __future__ import annotations

from collections.abc import Sequence

from server.session.incoming import FrameTag, Segment
from server.session.metrics import ChunkMetrics, short_id
from server.telemetry.spans import NO_SPANS, Parent, Spans


class SessionTrace:
    """Tells the spans of a session.

    Attributes:
        root: the span of its creation.
    """

    def __init__(self, spans: Spans = NO_SPANS, session_id: str = "") -> None:
        self.root: Parent = None
        self._spans = spans
        self._session = short_id(session_id)

    def segment(self, segment: Segment, now: float, outcome: str, position_ms: int) -> None:
        """A segment was ``stopped`` or ``cleared``; it began with its first sound."""
        if self._spans.on:
            self._spans.record(
                "session.segment",
                self.root,
                now - segment.asked_at,
                session=self._session,
                segment=segment.name,
                outcome=outcome,
                played_ms=position_ms,
            )

    def chunk(self, tags: Sequence[FrameTag], metrics: ChunkMetrics, took_s: float) -> None:
        """A chunk came back ``took_s`` after it was asked for."""
        if self._spans.on:
            names = (tag.segment.name for tag in tags if tag.segment is not None)
            self._spans.record(
                "session.chunk",
                self.root,
                took_s,
                session=self._session,
                segment=next(names, None),
                **metrics.values(),
            )
