"""The reorder buffer in virtual time: order, loss, duplicates, wraps, pauses, bursts, restarts."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from server.media.jitter import (
    AHEAD_S,
    HOLD_S,
    IDLE_AFTER_S,
    LATE_AHEAD_S,
    Flow,
    JitterBuffer,
    Piece,
)

pytestmark = pytest.mark.unit

FRAME = 960
FRAME_S = 0.02


class Network:
    """Feeds a buffer with packet ``n`` at given arrival times, and polls it at its deadlines."""

    def __init__(self, *, first_sequence: int = 100, first_timestamp: int = 5_000) -> None:
        self.buffer = JitterBuffer()
        self.first_sequence = first_sequence
        self.first_timestamp = first_timestamp
        self.out: list[tuple[float, int | None]] = []  # when, packet number or None for a gap
        self.now = 0.0

    def arrive(self, number: int, at: float, *, shift: int = 0, skipped: int = 0) -> None:
        """Packet ``number`` comes, ``shift`` samples off; ``skipped`` numbers were never used."""
        self.wait(at)
        pieces = self.buffer.push(
            (self.first_sequence + number - skipped) & 0xFFFF,
            (self.first_timestamp + number * FRAME + shift) & 0xFFFFFFFF,
            FRAME,
            str(number).encode(),
            at,
        )
        self._note(pieces)

    def wait(self, until: float) -> None:
        """Let time pass; the buffer is polled exactly when it asks to be."""
        while (deadline := self.buffer.next_deadline()) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            before = len(self.out)
            self._note(self.buffer.poll(self.now))
            after = self.buffer.next_deadline()
            assert len(self.out) > before or after is None or after > deadline, "no progress"
        self.now = until

    def numbers(self) -> list[int | None]:
        """What came out, in order."""
        return [number for _, number in self.out]

    def _note(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            assert piece.samples == FRAME
            number = None if piece.payload is None else int(piece.payload)
            self.out.append((self.now, number))


def test_packets_in_order_pass_without_delay() -> None:
    network = Network()
    for number in range(50):
        network.arrive(number, number * FRAME_S)
    assert network.numbers() == list(range(50))
    assert all(when == number * FRAME_S for number, (when, _) in enumerate(network.out))


def test_jitter_below_the_hold_loses_nothing() -> None:
    random = np.random.default_rng(0)
    network = Network()
    arrivals = sorted((n * FRAME_S + random.uniform(0, HOLD_S - 0.001), n) for n in range(500))
    for at, number in arrivals:
        network.arrive(number, at)
    network.wait(arrivals[-1][0])
    numbers = network.numbers()
    assert numbers == list(range(len(numbers))) and len(numbers) == 500
    assert max(when - number * FRAME_S for number, (when, _) in enumerate(network.out)) <= HOLD_S


def test_reordered_packets_are_put_right() -> None:
    network = Network()
    for number, at in [(0, 0.0), (2, 0.04), (1, 0.045), (3, 0.06), (5, 0.1), (4, 0.11)]:
        network.arrive(number, at)
    assert network.numbers() == [0, 1, 2, 3, 4, 5]


def test_a_lost_packet_costs_one_gap_and_no_lasting_delay() -> None:
    network = Network()
    for number in [n for n in range(40) if n != 10]:
        network.arrive(number, number * FRAME_S)
    numbers = network.numbers()
    assert numbers == [*range(10), None, *range(11, 40)]
    gap_at = network.out[10][0]
    assert gap_at == pytest.approx(10 * FRAME_S + HOLD_S)
    assert all(when == n * FRAME_S for when, n in network.out[14:] if n is not None)


def test_three_in_a_hundred_lost_at_random() -> None:
    random = np.random.default_rng(1)
    lost = set(random.choice(np.arange(1, 999), 30, replace=False).tolist())
    network = Network()
    for number in [n for n in range(1000) if n not in lost]:
        network.arrive(number, number * FRAME_S)
    assert network.numbers() == [None if n in lost else n for n in range(1000)]
    assert network.buffer.counts.concealed == 30


def test_duplicates_are_given_once() -> None:
    network = Network()
    for number in range(20):
        network.arrive(number, number * FRAME_S)
        network.arrive(number, number * FRAME_S + 0.005)
    assert network.numbers() == list(range(20))
    assert network.buffer.counts.duplicate == 20


def test_a_duplicate_behind_a_gap_is_given_once() -> None:
    network = Network()
    for number, at in [(0, 0.0), (2, 0.03), (2, 0.031), (1, 0.035)]:
        network.arrive(number, at)
    assert network.numbers() == [0, 1, 2]


@pytest.mark.parametrize("first_sequence", [65_530, 65_535, 32_760])
@pytest.mark.parametrize("first_timestamp", [2**32 - 5 * FRAME, 2**32 - 1, 2**31 - FRAME])
def test_sequence_and_timestamp_wrap(first_sequence: int, first_timestamp: int) -> None:
    network = Network(first_sequence=first_sequence, first_timestamp=first_timestamp)
    for number in [0, 1, 2, 4, 3, 5, 6, 8, 9, 10, 11, 12, 13]:  # two swapped, one lost
        network.arrive(number, number * FRAME_S if number != 3 else 4.2 * FRAME_S)
    assert network.numbers() == [0, 1, 2, 3, 4, 5, 6, None, 8, 9, 10, 11, 12, 13]


def test_a_pause_is_concealed_shortly_then_nothing_until_sound_comes_back() -> None:
    network = Network()
    for number in range(10):
        network.arrive(number, number * FRAME_S)
    network.wait(2.0)
    assert network.numbers()[10:] == [None] * round(IDLE_AFTER_S / FRAME_S)
    assert network.buffer.flow is Flow.IDLE and network.buffer.next_deadline() is None
    for number in range(100, 110):
        network.arrive(number, number * FRAME_S)
    assert network.numbers()[-10:] == list(range(100, 110))
    assert network.out[-1][0] == 109 * FRAME_S


def test_a_burst_after_an_outage_does_not_leave_delay_behind() -> None:
    network = Network()
    for number in range(10):
        network.arrive(number, number * FRAME_S)
    for number in range(10, 110):  # two seconds of sound arrive in 50 ms
        network.arrive(number, 109 * FRAME_S + (number - 110) * 0.0005)
    for number in range(110, 150):
        network.arrive(number, number * FRAME_S)
    after = [(when, number) for when, number in network.out if when > 0.5]
    passed = [number for _, number in after if number is not None]
    assert passed == sorted(passed) and passed[-40:] == list(range(110, 150))
    burst = sum(when < 110 * FRAME_S - 1e-9 for when, _ in after) * FRAME_S
    assert burst <= AHEAD_S + 0.05, "only what the budget lets through"
    assert all(when == n * FRAME_S for when, n in after if n is not None and n >= 110)


def test_never_more_than_real_time_and_the_budget_comes_out() -> None:
    random = np.random.default_rng(2)
    network = Network()
    at = 0.0
    for number in range(3000):
        if random.random() < 0.01:
            at += random.uniform(0, 1.5)  # the network stalls now and then
        at = max(at, number * FRAME_S) if random.random() < 0.3 else at + 0.0001
        network.arrive(number, at)
    times = np.array([when for when, _ in network.out])
    for first in range(0, len(times), 50):
        count = np.arange(1, len(times) - first + 1)
        elapsed = times[first:] - times[first]
        assert (count * FRAME_S <= 1.006 * elapsed + AHEAD_S + FRAME_S).all()


def test_a_slower_path_is_followed_without_loss() -> None:
    network = Network()
    for number in range(50):
        network.arrive(number, number * FRAME_S)
    for number in range(50, 150):
        network.arrive(number, number * FRAME_S + 0.15)
    assert [number for number in network.numbers() if number is not None] == list(range(150))
    assert network.out[-1][0] == 149 * FRAME_S + 0.15
    assert network.buffer.counts.concealed <= 7, "what the slower path left open, once"


def test_a_sender_slower_than_real_time_is_heard() -> None:
    network = Network()
    at = 0.0
    for number in range(200):
        network.arrive(number, at)
        at += FRAME_S if number < 20 else 0.09
    passed = [number for number in network.numbers() if number is not None]
    assert passed == sorted(passed) and len(passed) >= 195
    assert len(network.out) * FRAME_S <= at + AHEAD_S


def test_single_late_packets_add_little_and_never_more() -> None:
    network = Network()
    arrivals = sorted((n * FRAME_S + (0.07 if n % 20 == 10 else 0), n) for n in range(1000))
    for at, number in arrivals:
        network.arrive(number, at)
    assert network.out[-1][1] == 999
    assert len(network.out) - 1000 <= round(LATE_AHEAD_S / FRAME_S) + 5 * 1000 * FRAME_S / 100


def test_a_faster_path_lowers_the_delay_at_once() -> None:
    network = Network()
    for number in range(20):
        network.arrive(number, number * FRAME_S + 0.1)
    for number in range(20, 40):
        network.arrive(number, max(19 * FRAME_S + 0.1, number * FRAME_S))
    assert network.numbers() == list(range(40))
    assert network.out[-1][0] == 39 * FRAME_S


@pytest.mark.parametrize("drift", [200e-6, -200e-6])
def test_clock_drift_over_ten_minutes_costs_almost_nothing(drift: float) -> None:
    network = Network()
    for number in range(30_000):
        network.arrive(number, number * FRAME_S * (1 + drift))
    counts = network.buffer.counts
    assert counts.delivered >= 29_990 and counts.concealed <= 10


def test_silence_that_is_not_sent_is_filled_at_once() -> None:
    network = Network()
    for number in range(5):
        network.arrive(number, number * FRAME_S)
    network.arrive(8, 8 * FRAME_S, skipped=3)  # consecutive sequence: nothing was lost
    assert network.numbers() == [0, 1, 2, 3, 4, None, None, None, 8]
    assert network.out[-1][0] == 8 * FRAME_S


@pytest.mark.parametrize(
    "shift", [48_000 * 3600, -48_000 * 3600, 2**31 - 48_000, -(2**31) + 48_000]
)
def test_a_new_time_line_is_taken_up(shift: int) -> None:
    network = Network()
    for number in range(20):
        network.arrive(number, number * FRAME_S)
    for number in range(20, 60):
        network.arrive(number, number * FRAME_S, shift=shift)
    assert network.numbers()[-30:] == list(range(30, 60))
    assert network.buffer.counts.restarts == 1


def test_a_flood_of_far_packets_stays_bounded() -> None:
    random = np.random.default_rng(3)
    buffer = JitterBuffer()
    given = 0.0
    for place in range(20_000):
        now = place * 0.0005
        timestamp = int(random.integers(0, 2**32)) if place % 3 else place * 24
        pieces = buffer.push(int(random.integers(0, 65_536)), timestamp, FRAME, b"0", now)
        given += sum(piece.samples for piece in pieces) / 48_000
        assert len(buffer._held) <= 65
    assert given <= 10.0 * 1.006 + AHEAD_S


def test_packets_that_change_their_length() -> None:
    buffer = JitterBuffer()
    out: list[Piece] = []
    timestamp = 0
    for sequence, samples in enumerate([960, 480, 480, 2880, 960, 1920]):
        out += buffer.push(sequence, timestamp, samples, b"x", timestamp / 48_000)
        timestamp += samples
    assert [piece.samples for piece in out] == [960, 480, 480, 2880, 960, 1920]
    assert all(piece.payload for piece in out)
