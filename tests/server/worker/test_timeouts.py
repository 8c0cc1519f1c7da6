"""What a worker owes, and when that is too long; times are arguments."""

from __future__ import annotations

import pytest

from server.worker.timeouts import InFlight, Timeouts
from tests.server.worker.test_worker import request

pytestmark = pytest.mark.unit


def in_flight(full_batch_s: float = 0.4) -> InFlight:
    """Of a worker that measured so much for a full batch."""
    sent = InFlight()
    sent.timeouts = Timeouts().measured(full_batch_s)
    return sent


def test_patience_grows_with_what_the_model_takes() -> None:
    assert Timeouts().measured(0.4) == Timeouts()
    slow = Timeouts().measured(480.0)
    assert slow.request_s == slow.chunk_s == 4800.0
    unknown = Timeouts().measured(0.0)
    assert unknown.request_s == unknown.chunk_s == 3600.0


def test_a_request_may_take_its_time_and_no_more() -> None:
    sent = in_flight()
    sent.ask(1, 100.0)
    sent.ask(2, 130.0)
    assert sent.timed_out(160.0) is None
    assert sent.timed_out(161.0) == "a request for 61 s"
    sent.answered(1)
    assert sent.timed_out(161.0) is None
    assert sent.timed_out(191.0) is not None
    sent.answered(2)
    sent.answered(2)
    assert sent.timed_out(1e6) is None


def test_chunks_are_owed_until_they_come_and_any_chunk_is_a_sign_of_life() -> None:
    sent = in_flight()
    sent.submit("a", request(0), 100.0)
    sent.submit("b", request(0), 100.0)
    assert sent.timed_out(161.0) == "a chunk for 61 s"
    sent.on_chunk("b", 0, 150.0)
    assert sent.timed_out(210.0) is None
    assert sent.timed_out(211.0) is not None
    sent.on_chunk("a", 0, 210.0)
    assert sent.timed_out(1e6) is None
    sent.submit("a", request(1), 2e6)  # long after the last chunk: it has only just been asked for
    assert sent.timed_out(2e6 + 60) is None


def test_what_an_interrupt_or_a_close_drops_is_not_owed() -> None:
    sent = in_flight()
    sent.submit("a", request(0), 100.0)
    sent.submit("b", request(0), 100.0)
    sent.submit("a", request(1, epoch=1), 150.0)
    sent.drop("a", before=1)
    sent.drop("b")
    assert sent.timed_out(205.0) is None
    assert sent.timed_out(211.0) == "a chunk for 61 s"
    sent.drop("a")
    assert sent.timed_out(1e6) is None
