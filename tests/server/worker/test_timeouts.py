"""What a worker owes, and when that is too long; times are arguments."""

from __future__ import annotations

import pytest

from server.worker.timeouts import InFlight, Timeouts
from tests.server.worker.test_worker import job

pytestmark = pytest.mark.unit


def debts(full_batch_s: float = 0.4) -> InFlight:
    """Of a worker that measured so much for a full batch."""
    owed = InFlight()
    owed.patience = Timeouts().measured(full_batch_s)
    return owed


def test_patience_grows_with_what_the_model_takes() -> None:
    assert Timeouts().measured(0.4) == Timeouts()
    slow = Timeouts().measured(480.0)
    assert slow.request_s == slow.chunk_s == 4800.0
    unknown = Timeouts().measured(0.0)
    assert unknown.request_s == unknown.chunk_s == 3600.0


def test_a_request_may_take_its_time_and_no_more() -> None:
    owed = debts()
    owed.ask(1, 100.0)
    owed.ask(2, 130.0)
    assert owed.overdue(160.0) is None
    assert owed.overdue(161.0) == "a request for 61 s"
    owed.answered(1)
    assert owed.overdue(161.0) is None
    assert owed.overdue(191.0) is not None
    owed.answered(2)
    owed.answered(2)
    assert owed.overdue(1e6) is None


def test_chunks_are_owed_until_they_come_and_any_chunk_is_a_sign_of_life() -> None:
    owed = debts()
    owed.submit("a", job(0), 100.0)
    owed.submit("b", job(0), 100.0)
    assert owed.overdue(161.0) == "a chunk for 61 s"
    owed.made("b", 0, 150.0)
    assert owed.overdue(210.0) is None
    assert owed.overdue(211.0) is not None
    owed.made("a", 0, 210.0)
    assert owed.overdue(1e6) is None
    owed.submit("a", job(1), 2e6)  # long after the last chunk: it has only just been asked for
    assert owed.overdue(2e6 + 60) is None


def test_what_an_interrupt_or_a_close_drops_is_not_owed() -> None:
    owed = debts()
    owed.submit("a", job(0), 100.0)
    owed.submit("b", job(0), 100.0)
    owed.submit("a", job(1, generation=1), 150.0)
    owed.drop("a", before=1)
    owed.drop("b")
    assert owed.overdue(205.0) is None
    assert owed.overdue(211.0) == "a chunk for 61 s"
    owed.drop("a")
    assert owed.overdue(1e6) is None
