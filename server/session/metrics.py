"""The numbers of one session: what each chunk took, the first-frame delay, the cost per frame."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


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
    """

    queued_ms: float
    model_ms: float
    encode_ms: float
    batch: int
    slack_ms: float
    epoch: int

    def __str__(self) -> str:
        return " ".join(
            f"{name}={round(value, 1) if isinstance(value, float) else value}"
            for name, value in asdict(self).items()
        )


class SessionMetrics:
    """Counts what ``metrics.updated`` tells beside the state of the queues."""

    def __init__(self, *, live: bool = False) -> None:
        """``live``: speech is a microphone's, and waits since its own sound arrived."""
        self.first_frame_ms: float | None = None
        self._live = live
        self._asked_at: float | None = None
        self._last: ChunkMetrics | None = None

    def asked(self, now: float) -> None:
        """Speech arrives while there was none: the clock of the first frame starts."""
        self._asked_at = now

    def started(self, now: float, asked_at: float) -> None:
        """A segment whose sound arrived at ``asked_at`` starts to play."""
        since = asked_at if self._live else self._asked_at
        if since is not None:
            self.first_frame_ms = 1000 * (now - since)
        self._asked_at = None

    def add(self, chunk: ChunkMetrics) -> None:
        """A chunk came back from the worker."""
        self._last = chunk

    def snapshot(self, chunk_frames: int) -> dict[str, Any]:
        """The part of ``metrics.updated`` that is kept here, rounded."""
        first, last = self.first_frame_ms, self._last
        spent_ms = last.model_ms + last.encode_ms if last else 0.0
        return {
            "first_frame_ms": None if first is None else round(first, 1),
            "ms_per_frame": round(spent_ms / chunk_frames, 2),
            "batch": last.batch if last else 0,
        }
