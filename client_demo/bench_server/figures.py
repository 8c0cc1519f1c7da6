"""The bench's arithmetic: percentiles, frames a second and gaps, what a session leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

HOLDS_FPS = 24.9
"""Frames a second from which a session counts as holding 25."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How evenly frames arrived: frames a second, and the longest time without one."""

    fps: float
    longest_gap_ms: float

    @property
    def holds(self) -> bool:
        """Whether the session held 25 frames a second."""
        return self.fps >= HOLDS_FPS


def rhythm(arrivals: Sequence[float], begin: float, end: float) -> Rhythm:
    """Of the arrivals from ``begin`` to ``end``, all in seconds of one clock.

    The time before the first frame and after the last counts as a gap too.
    """
    inside = [moment for moment in arrivals if begin <= moment < end]
    gaps = np.diff([begin, *inside, end])
    return Rhythm(len(inside) / (end - begin), 1000 * float(gaps.max()))


def percentiles(values: Sequence[float]) -> dict[str, float | int | None]:
    """Median, 95th percentile and number; None where there is nothing."""
    if not values:
        return {"p50": None, "p95": None, "n": 0}
    p50, p95 = np.quantile(values, (0.5, 0.95))
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1), "n": len(values)}


def frames_record(asked: int, rhythms: Sequence[Rhythm]) -> dict[str, object]:
    """What the admitted sessions received; ``asked`` is how many callers there were."""
    holding = sum(each.holds for each in rhythms)
    fps = [each.fps for each in rhythms]
    gaps = [each.longest_gap_ms for each in rhythms]
    return {
        "asked": asked,
        "admitted": len(rhythms),
        "holding": holding,
        "holding_percent": round(100 * holding / len(rhythms), 1) if rhythms else None,
        "fps_min": round(min(fps), 2) if fps else None,
        "fps_mean": round(sum(fps) / len(fps), 2) if fps else None,
        "longest_gap_ms": round(max(gaps), 1) if gaps else None,
        "sessions": [
            {"fps": round(each.fps, 2), "longest_gap_ms": round(each.longest_gap_ms, 1)}
            for each in rhythms
        ],
    }


def core_percent(cpu_s: float, seconds: float, sessions: int) -> float | None:
    """Percent of a core that each session takes; None without sessions."""
    return round(100 * cpu_s / seconds / sessions, 3) if sessions else None
