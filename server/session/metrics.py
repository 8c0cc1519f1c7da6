"""The numbers of one session: first-frame delay, cost per frame, what was sent and dropped."""

from __future__ import annotations

from typing import Any

from server.worker.messages import ChunkResult


class SessionMetrics:
    """Counts; holds no times but the one it waits for."""

    def __init__(self) -> None:
        self.units = 0
        self.first_frame_ms: float | None = None
        self._asked_at: float | None = None
        self._spent_s = 0.0
        self._batch = 0

    def asked(self, now: float) -> None:
        """Speech arrives while there was none: the clock of the first frame starts."""
        self._asked_at = now

    def started(self, now: float, asked_at: float | None = None) -> None:
        """Its first frame is sent; ``asked_at`` overrides when its sound arrived."""
        since = asked_at if asked_at is not None else self._asked_at
        if since is not None:
            self.first_frame_ms = 1000 * (now - since)
        self._asked_at = None

    def made(self, made: ChunkResult) -> None:
        """A chunk came back from the worker."""
        self._spent_s, self._batch = made.spent_s, made.batch

    def shown(self, chunk_frames: int) -> dict[str, Any]:
        """What callers see."""
        first = None if self.first_frame_ms is None else round(self.first_frame_ms, 1)
        return {
            "first_frame_ms": first,
            "ms_per_frame": round(1000 * self._spent_s / chunk_frames, 2),
            "batch": self._batch,
            "units": self.units,
        }
