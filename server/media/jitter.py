"""Puts incoming sound packets back in order, and says which are lost, with almost no delay.

Packets that come in order pass at once. Only behind a gap does anything wait, until the missing
packet's own deadline: the earliest moment it could have come (the fastest recent packet tells)
plus ``HOLD_S``. Then the gap is given up and the caller conceals it. A packet that comes after
that still passes if it is in order and the sound so far is not ahead of real time (a sender or path
that became slower), else it is dropped. So the delay never grows for good: over any time T at most
T + ``AHEAD_S`` of sound passes. Times are seconds on the caller's clock; media times are samples.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

HOLD_S = 0.04
"""How long after its earliest possible arrival a packet is waited for."""
IDLE_AFTER_S = 0.2
"""So much concealment in a row, then nothing until a packet comes: the sender paused."""
AHEAD_S = 0.2
"""How much sound may pass beyond real time after a pause of the network; the rest is dropped."""

LATE_S = 0.3
"""Sound that comes later than this beyond its earliest arrival is stale and dropped."""
LATE_AHEAD_S = 0.04
"""Late sound passes only while less than this has passed beyond real time."""

_LATE_RUN_S = 0.1  # only late packets for so long: the path became slower, follow it
_FOREIGN_S = 2.0  # further off than this is not the network but another time line
_WINDOW_S = 5.0  # the fastest packet counts for one to two windows, so clock drift is followed
_LEAK = 1.005  # the budget refills slightly faster than real time: clocks differ a little
_MAX_HELD = 64  # packets behind a gap; more, and the gap is given up
_REMEMBERED = 128  # delivered packets kept in mind to tell duplicates from late ones


class Flow(Enum):
    """What the buffer is doing: nothing yet, passing a stream, or waiting through a pause."""

    EMPTY = auto()
    FLOWING = auto()
    IDLE = auto()


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of sound in order: a packet, or a gap (``payload`` None) of ``samples``."""

    payload: bytes | None
    samples: int


@dataclass(slots=True)
class JitterCounts:
    """What happened so far, in packets.

    ``concealed`` counts gaps given out, ``revived`` packets that passed although given up,
    ``late`` those dropped for that, ``dropped`` those beyond what real time allows.
    """

    received: int = 0
    delivered: int = 0
    concealed: int = 0
    revived: int = 0
    late: int = 0
    duplicate: int = 0
    dropped: int = 0
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class _Held:
    sequence: int
    samples: int
    payload: bytes


class JitterBuffer:
    """One stream of packets (one SSRC); a new stream gets a new buffer."""

    def __init__(self, *, rate: int = 48_000, hold_s: float = HOLD_S) -> None:
        """``rate`` is the media clock in Hz, ``hold_s`` the longest wait behind a gap."""
        self.counts = JitterCounts()
        self.flow = Flow.EMPTY
        self._rate = rate
        self._hold_s = hold_s
        self._held: dict[int, _Held] = {}  # media time -> packet; bounded by _MAX_HELD
        self._delivered: deque[int] = deque(maxlen=_REMEMBERED)
        self._next = 0  # media time that comes next
        self._delivered_end = 0  # media time behind the newest delivered packet
        self._newest = 0  # media time of the newest arrival, for unwrapping
        self._last_sequence = -1
        self._frame = round(rate * 0.02)
        self._concealed_run = 0
        self._fastest = [0.0, 0.0]  # least transit seen in this window and in the one before
        self._window_start = 0.0
        self._late_run: tuple[float, float] | None = None  # began at, least transit
        self._ahead_s = 0.0
        self._ahead_at = 0.0

    def push(
        self, sequence: int, timestamp: int, samples: int, payload: bytes, now: float
    ) -> list[Piece]:
        """Take a packet (16-bit sequence, 32-bit timestamp); give what is now in order.

        Gaps are given up by ``poll`` alone: after a stall of the caller the missing packet may be
        the very next one it hands over.
        """
        self.counts.received += 1
        media = self._unwrap(timestamp)
        transit = now - media / self._rate
        if self.flow is Flow.EMPTY or transit - self._least_transit() < -_FOREIGN_S:
            self._restart(media, transit, now)
        self._observe(transit, now)
        if media < self._next and not self._follow(media, transit, now):
            return []
        self._late_run = None
        if media in self._held:
            self.counts.duplicate += 1
            return []
        if self.flow is Flow.IDLE:
            self.flow = Flow.FLOWING
            self._next = media
            self._concealed_run = 0
        self._held[media] = _Held(sequence, samples, payload)
        return self._advance(now, may_wait=True)

    def poll(self, now: float) -> list[Piece]:
        """Give what is in order or given up by now; call it at ``next_deadline``."""
        return self._advance(now, may_wait=False)

    def next_deadline(self) -> float | None:
        """When ``poll`` will have something to say if no packet comes; None while idle."""
        if self.flow is not Flow.FLOWING:
            return None
        return self._deadline()

    def _advance(self, now: float, *, may_wait: bool) -> list[Piece]:
        pieces: list[Piece] = []
        while self.flow is Flow.FLOWING:
            packet = self._held.pop(self._next, None)
            if packet is not None:
                self._deliver(packet, now, pieces)
            elif not self._give_up(now, pieces, may_wait=may_wait or now < self._deadline()):
                break
        return pieces

    def _give_up(self, now: float, pieces: list[Piece], *, may_wait: bool) -> bool:
        """Step over (a part of) the gap at ``_next`` if it is time; False to go on waiting."""
        for media in [media for media in self._held if media < self._next]:
            del self._held[media]  # overlaps what was given: the packet size changed
        head = min(self._held, default=None)
        limit = round(IDLE_AFTER_S * self._rate)
        if head is not None:
            gap = head - self._next
            if gap + self._concealed_run > limit or len(self._held) > _MAX_HELD:
                self._next = head
                return True
            silence = self._held[head].sequence == (self._last_sequence + 1) & 0xFFFF
            if not silence and may_wait:
                return False
            self._conceal(min(gap, self._frame), now, pieces)
            return True
        if may_wait:
            return False
        if self._concealed_run >= limit:
            self.flow = Flow.IDLE
            return False
        self._conceal(self._frame, now, pieces)
        return True

    def _deliver(self, packet: _Held, now: float, pieces: list[Piece]) -> None:
        self._delivered.append(self._next)
        self._next += packet.samples
        self._delivered_end = self._next
        self._last_sequence = packet.sequence
        self._frame = packet.samples
        self._concealed_run = 0
        if self._within_budget(packet.samples, now):
            self.counts.delivered += 1
            pieces.append(Piece(packet.payload, packet.samples))
        else:
            self.counts.dropped += 1

    def _conceal(self, samples: int, now: float, pieces: list[Piece]) -> None:
        self._next += samples
        self._concealed_run += samples
        if self._within_budget(samples, now):
            self.counts.concealed += 1
            pieces.append(Piece(None, samples))

    def _follow(self, media: int, transit: float, now: float) -> bool:
        """Judge a packet that came too late; True if it may pass after all."""
        if media in self._delivered:
            self.counts.duplicate += 1
            return False
        late_s = transit - self._least_transit()
        in_order = media >= self._delivered_end
        if in_order and late_s <= LATE_S and self._ahead(now) < LATE_AHEAD_S:
            self.counts.revived += 1
            self._turn_to(media, transit, now)
            return True
        began, least = self._late_run or (now, transit)
        least = min(least, transit)
        self._late_run = (began, least)
        if now - began < _LATE_RUN_S:
            self.counts.late += 1
            return False
        if least - self._least_transit() > _FOREIGN_S:
            self._restart(media, transit, now)
            return True
        self._fastest = [least, least]
        self._window_start = now
        self._late_run = None
        self.counts.late += 1
        return False

    def _restart(self, media: int, transit: float, now: float) -> None:
        if self.flow is not Flow.EMPTY:
            self.counts.restarts += 1
        self._held.clear()
        self._turn_to(media, transit, now)

    def _turn_to(self, media: int, transit: float, now: float) -> None:
        """Go on with this media time, on a path as slow as this packet's."""
        self.flow = Flow.FLOWING
        self._next = media
        self._concealed_run = 0
        self._fastest = [transit, transit]
        self._window_start = now

    def _observe(self, transit: float, now: float) -> None:
        elapsed = now - self._window_start
        if elapsed > _WINDOW_S:
            before = self._fastest[0] if elapsed <= 2 * _WINDOW_S else transit
            self._fastest = [transit, before]
            self._window_start = now
        self._fastest[0] = min(self._fastest[0], transit)

    def _within_budget(self, samples: int, now: float) -> bool:
        if self._ahead(now) + samples / self._rate > AHEAD_S:
            return False
        self._ahead_s += samples / self._rate
        return True

    def _ahead(self, now: float) -> float:
        """How much more sound than time passed lately, seconds."""
        self._ahead_s = max(0.0, self._ahead_s - _LEAK * (now - self._ahead_at))
        self._ahead_at = now
        return self._ahead_s

    def _deadline(self) -> float:
        return self._least_transit() + self._next / self._rate + self._hold_s

    def _least_transit(self) -> float:
        return min(self._fastest)

    def _unwrap(self, timestamp: int) -> int:
        step = (timestamp - self._newest) & 0xFFFFFFFF
        media = self._newest + (step - (1 << 32) if step >= 1 << 31 else step)
        self._newest = media
        return media
