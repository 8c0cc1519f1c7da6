"""The numbers of one session: what each chunk took, the first-frame delay, the cost per frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from server.session.incoming import FrameTag, Segment
from server.telemetry.instruments import Instruments


def short_id(session_id: str) -> str:
    """What log lines call a session; its id lets nobody in, but need not be spread."""
    return session_id[5:11]


@dataclass(frozen=True, slots=True)
class ChunkMetrics:
    """What one chunk took; its text is one line of ``name=value`` pairs.

    Attributes:
        queued_ms: between request and result, neither in the model nor in the encoders.
        model_ms: of the model call, which ``batch`` streams share.
        encode_ms: of the encoders, after the chunks before it in the batch.
        batch: streams that the model call served.
        slack_ms: how much longer the frames in the pacer would have lasted; 0 is late.
        epoch: of the session when the audio was cut.
        features_ms, denoise_ms, decode_ms: of the model call's stages, where the model tells.
    """

    queued_ms: float
    model_ms: float
    encode_ms: float
    batch: int
    slack_ms: float
    epoch: int
    features_ms: float | None = None
    denoise_ms: float | None = None
    decode_ms: float | None = None

    def values(self) -> dict[str, float]:
        """What is known, times rounded, by name."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: round(value, 1) for name, value in found.items() if value is not None}

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.values().items())


class SessionMetrics:
    """Counts what ``metrics.updated`` tells beside the state of the queues."""

    def __init__(self, *, live: bool = False, instruments: Instruments | None = None) -> None:
        """``live``: speech is a microphone's, and waits since its own sound arrived.

        ``instruments`` of the server count along.
        """
        self._instruments = instruments or Instruments()
        self._counted: tuple[int, ...] = (0, 0, 0)
        self.first_frame_ms: float | None = None
        self._live = live
        self._asked_at: float | None = None
        self._last: ChunkMetrics | None = None
        self._cut: Segment | None = None

    def asked(self, now: float) -> None:
        """Speech arrives while there was none: the clock of the first frame starts."""
        self._asked_at = now

    def started(self, now: float, asked_at: float) -> None:
        """A segment whose sound arrived at ``asked_at`` starts to play."""
        since = asked_at if self._live else self._asked_at
        if since is not None:
            self.first_frame_ms = 1000 * (now - since)
            self._instruments.first_frame.observe(now - since)
        self._asked_at = None

    def add(self, chunk: ChunkMetrics) -> None:
        """A chunk came back from the worker."""
        self._last = chunk
        for stage, spent_ms in (
            ("queue", chunk.queued_ms),
            ("features", chunk.features_ms),
            ("denoise", chunk.denoise_ms),
            ("decode", chunk.decode_ms),
            ("encode", chunk.encode_ms),
        ):
            if spent_ms is not None:
                self._instruments.spent(stage, spent_ms / 1000)

    def cut(self, tags: Sequence[FrameTag], now: float, *, starts: bool) -> None:
        """A chunk was cut; where speech ``starts`` in it, that speech has waited until now."""
        segments = [tag.segment for tag in tags if tag.samples and tag.segment is not None]
        if not segments:
            return
        if starts and segments[0] is not self._cut:
            self._instruments.spent("input_wait", now - segments[0].asked_at)
        self._cut = segments[-1]

    def count(self, *totals: int) -> None:
        """Take the AV frames that were played, late and dropped so far."""
        counters = self._instruments
        for counter, total, before in zip(
            (counters.units, counters.late_units, counters.dropped_units),
            totals,
            self._counted,
            strict=True,
        ):
            counter.inc(total - before)
        self._counted = totals

    def snapshot(self, chunk_frames: int) -> dict[str, Any]:
        """The part of ``metrics.updated`` that is kept here, rounded."""
        first, last = self.first_frame_ms, self._last
        spent_ms = last.model_ms + last.encode_ms if last else 0.0
        return {
            "first_frame_ms": None if first is None else round(first, 1),
            "ms_per_frame": round(spent_ms / chunk_frames, 2),
            "batch": last.batch if last else 0,
        }
