"""The rate of a caller's pictures: falls on loss and overuse, grows back, stays in its bounds."""

from __future__ import annotations

import pytest

from server.webrtc.link_rate import FALL_EVERY_S, LinkRate, Rates

pytestmark = pytest.mark.unit

RATES = Rates(start=300_000, floor=50_000, cap=600_000)


class Link:
    """A bottleneck and a caller who estimates as browsers do, in steps of 0.1 s."""

    def __init__(self, bits_per_s: float, wanted: float = 1e9) -> None:
        self.rate = LinkRate(RATES)
        self.bits_per_s = bits_per_s
        self.wanted = wanted  # what the picture costs at most
        self.queued = 0.0
        self.now = 0.0
        self.estimate: float | None = None

    def run(self, seconds: float) -> list[int]:
        """Send for so long; the rate after each second."""
        seen = []
        for step in range(round(10 * seconds)):
            self.now += 0.1
            sent = 0.1 * min(self.rate.bitrate, self.wanted)
            self.rate.on_sent(round(sent / 8), self.now)
            self.queued += sent
            arrived = min(self.queued, 0.1 * self.bits_per_s)
            self.queued -= arrived
            if step % 10 == 9:
                self._report(10 * arrived)
                seen.append(self.rate.bitrate)
        return seen

    def _report(self, throughput: float) -> None:
        if self.queued > 0.05 * self.bits_per_s:  # delay grows
            self.estimate = 0.85 * throughput
        elif self.estimate is None:
            self.estimate = throughput
        else:
            limit = 1.5 * throughput + 10_000
            self.estimate = max(self.estimate, min(1.08 * self.estimate, limit))
        self.rate.on_estimate(self.estimate, self.now)
        lost = max(0.0, self.queued - 0.5 * self.bits_per_s)
        self.queued -= lost
        self.rate.on_loss(lost / max(1.0, 10 * throughput + lost), self.now)


def test_it_finds_a_narrow_link_and_stays_below_it_most_of_the_time() -> None:
    link = Link(150_000)
    link.run(20)
    settled = link.run(60)
    assert sum(settled) / len(settled) == pytest.approx(140_000, rel=0.25)
    assert link.queued < 0.5 * link.bits_per_s


def test_it_follows_a_link_that_narrows_and_widens() -> None:
    link = Link(2e6)
    assert link.run(30)[-1] == RATES.cap
    link.bits_per_s = 120_000
    assert min(link.run(10)) < 150_000
    link.bits_per_s = 2e6
    assert link.run(60)[-1] == RATES.cap


def test_a_resting_face_does_not_lower_it() -> None:
    link = Link(2e6, wanted=40_000)
    assert min(link.run(30)) >= RATES.start
    link.wanted = 1e9
    assert min(link.run(30)) >= RATES.start


def test_an_estimate_of_what_little_arrived_before_speech_is_not_believed_at_once() -> None:
    rate = LinkRate(RATES)
    for second, (sent, estimate) in enumerate([(77, 70), (110, 75), (104, 95), (90, 95)]):
        rate.on_sent(sent * 1000 * 2 // 8, 3.0 * second)  # one window after the other
        rate.on_estimate(estimate * 1000, 3.0 * second)
        assert rate.bitrate >= RATES.start


def test_loss_without_estimates_lowers_it_to_the_floor_and_none_raises_it() -> None:
    rate = LinkRate(RATES)
    for second in range(40):
        rate.on_loss(0.3, second)
    assert rate.bitrate == RATES.floor
    for second in range(40, 100):
        rate.on_loss(0.0, second)
    assert rate.bitrate == RATES.cap


def test_loss_lowers_what_is_sent_not_a_ceiling_far_above() -> None:
    rate = LinkRate(RATES)
    rate.on_sent(200_000 * 2 // 8, 1.0)
    rate.on_loss(0.4, 1.5)
    assert rate.bitrate == pytest.approx(160_000)


def test_a_little_loss_changes_nothing_and_bursts_of_reports_count_once() -> None:
    rate = LinkRate(RATES)
    rate.on_loss(0.05, 1.0)
    assert rate.bitrate == RATES.start
    rate.on_loss(0.2, 2.0)
    once = rate.bitrate
    rate.on_loss(0.2, 2.0 + FALL_EVERY_S / 2)
    assert rate.bitrate == once == pytest.approx(0.9 * RATES.start)


def test_the_bounds_hold_even_when_set_the_wrong_way() -> None:
    assert LinkRate(Rates(start=10_000, floor=50_000, cap=600_000)).bitrate == 50_000
    assert LinkRate(Rates(start=900_000, floor=50_000, cap=600_000)).bitrate == 600_000
    assert LinkRate(Rates(start=400_000, floor=100_000, cap=50_000)).bitrate == 100_000
