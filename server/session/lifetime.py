"""Says when a session must end: too long alone, or too long at all. Pure logic."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: before it ends, when nobody came yet; to come back for who left; in all before it
    ends, and the warning before that."""

    idle_timeout_s: float = 60.0
    resume_s: float = 15.0
    max_duration_s: float = 3600.0
    closing_warning_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a session ends and in how many milliseconds; 0 is now."""

    reason: str
    in_ms: int = 0


class Lifetime:
    """The two clocks of one session."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._alone_since: float | None = now
        self._patience_s = limits.idle_timeout_s
        self._ends_at = math.inf
        self._warned = False

    @property
    def alone(self) -> bool:
        """Whether nobody is attached."""
        return self._alone_since is not None

    def begin(self, now: float) -> None:
        """The session has its place: from now on its time runs, and somebody should come."""
        self._ends_at = now + self._limits.max_duration_s
        self._alone_since = now
        self._patience_s = self._limits.idle_timeout_s

    def left_s(self, now: float) -> float | None:
        """Seconds until it ends at the latest; None before it begins."""
        return None if math.isinf(self._ends_at) else max(0.0, self._ends_at - now)

    def accompanied(self) -> None:
        """Somebody is attached."""
        self._alone_since = None

    def left_alone(self, now: float) -> None:
        """Nobody is attached any more: whoever was may resume for a while."""
        self._alone_since = now
        self._patience_s = self._limits.resume_s

    def keep_alive(self, now: float) -> None:
        """Somebody said that they will come: the time alone begins anew, with all patience."""
        if self._alone_since is not None:
            self._alone_since = now
            self._patience_s = self._limits.idle_timeout_s

    def check(self, now: float) -> Ending | None:
        """The end that is due, or once the warning that it comes, or None."""
        alone = self._alone_since
        if alone is not None and now - alone >= self._patience_s:
            return Ending("idle_timeout")
        left = self._ends_at - now
        if left <= 0:
            return Ending("max_duration")
        if left <= self._limits.closing_warning_s and not self._warned:
            self._warned = True
            return Ending("max_duration", max(1, round(1000 * left)))
        return None
