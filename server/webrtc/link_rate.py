"""How many bits a second a caller's link takes, from what the caller reports. Pure logic.

Callers report loss (RTCP receiver reports) and, as browsers do, an estimate (REMB). An estimate
grows to 1.5 times what arrives and no further, and a resting face sends little; so a low one says
nothing unless less is estimated than is sent, and less than before or again. What is reported to go
well raises the rate step by step, as congestion control for WebRTC does (draft-ietf-rmcat-gcc).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW_S = 2.0  # a keyframe is in each
LOSSY, CLEAN = 0.10, 0.02
"""Loss above the first lowers the rate, below the second raises it."""
GROWTH = 1.08
GROW_EVERY_S = 0.5
FALL_EVERY_S = 0.5
HOLD_S = 2.0
"""After a fall the rate rests so long: what filled the link on its way must drain."""
OVERUSED = 0.95
FALLING, RISING = 0.97, 1.02
PATIENCE = 2
"""So many estimates in a row below what is sent, if they do not fall, before they are believed."""
MARGIN = 0.85


@dataclass(frozen=True, slots=True)
class Rates:
    """Bit/s of a caller's pictures: at first, at least, at most."""

    start: int = 400_000
    floor: int = 100_000
    cap: int = 600_000


class LinkRate:
    """The rate for one caller; times are seconds of one clock."""

    def __init__(self, rates: Rates) -> None:
        self._floor, self._cap = rates.floor, max(rates.floor, rates.cap)
        self._rate = float(min(max(rates.start, self._floor), self._cap))
        self._sent: deque[tuple[float, int]] = deque()  # bounded by WINDOW_S: see on_sent
        self._estimate: float | None = None
        self._doubts = 0
        self._grown_at = self._fallen_at = float("-inf")

    @property
    def bitrate(self) -> int:
        """Bit/s that pictures may take."""
        return round(self._rate)

    def on_sent(self, size: int, now: float) -> None:
        """``size`` bytes were handed to the link."""
        self._sent.append((now, size))
        while self._sent[0][0] < now - WINDOW_S:
            self._sent.popleft()

    def on_estimate(self, bitrate: float, now: float) -> None:
        """The caller estimates that its link takes ``bitrate`` bit/s."""
        before, self._estimate = self._estimate, bitrate
        if bitrate >= OVERUSED * self._sent_rate(now) or (before and bitrate > RISING * before):
            self._doubts = 0
            self._grow(now, at_least=min(MARGIN * bitrate, self._cap))
            return
        self._doubts += 1
        if self._doubts >= PATIENCE or (before and bitrate < FALLING * before):
            self._fall(bitrate, now)

    def on_loss(self, fraction: float, now: float) -> None:
        """The caller missed this fraction (0..1) of the packets since it last reported."""
        if fraction > LOSSY:
            sent = self._sent_rate(now) or self._rate  # a ceiling above what is sent is none
            self._fall(min(self._rate, sent) * (1 - fraction / 2), now)
        elif fraction < CLEAN:
            self._grow(now)

    def _sent_rate(self, now: float) -> float:
        return 8 * sum(size for at, size in self._sent if at >= now - WINDOW_S) / WINDOW_S

    def _fall(self, rate: float, now: float) -> None:
        if now - self._fallen_at >= FALL_EVERY_S:
            self._rate = max(self._floor, min(self._rate, rate))
            self._fallen_at = now

    def _grow(self, now: float, at_least: float = 0.0) -> None:
        if now - self._grown_at >= GROW_EVERY_S and now - self._fallen_at >= HOLD_S:
            self._rate = min(self._cap, max(GROWTH * self._rate, at_least))
            self._grown_at = now
