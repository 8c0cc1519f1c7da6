"""Places and the queue before them, and how a server that is told to stop ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from models.errors import PortraitError
from server.errors import Conflict, NoCapacity, NotFound, WorkerLost
from server.media.resampler import AudioFormat
from server.session.registry import SessionRegistry
from server.session.request import SessionRequest
from server.session.session import Session
from server.session.state import State
from server.session.workers import IdentityHandle
from server.settings import Settings
from tests.support.clock import ManualClock, settle
from tests.support.output import Recorder
from tests.support.sound import speech
from tests.support.workers import BAD_PORTRAIT, FakeWorkers

pytestmark = pytest.mark.unit

GOOD = SessionRequest(b"a portrait")


@dataclass
class House:
    """A registry in virtual time."""

    clock: ManualClock
    workers: FakeWorkers
    sessions: SessionRegistry

    async def come(self, request: SessionRequest = GOOD) -> tuple[Session, Recorder]:
        """A caller who watches the session that it got."""
        session = await self.sessions.create(request)
        viewer = Recorder(self.clock)
        session.send_hello(viewer, "h264")
        session.attach(viewer)
        return session, viewer


@asynccontextmanager
async def house(**settings: float) -> AsyncIterator[House]:
    clock = ManualClock()
    workers = FakeWorkers(clock)
    await workers.start()
    sessions = SessionRegistry(
        Settings.read({}, **{"max_sessions": 1, **settings}),
        workers,
        clock,
    )
    try:
        yield House(clock, workers, sessions)
    finally:
        await sessions.aclose()
        await workers.aclose()


def places(viewer: Recorder) -> list[int]:
    """What a viewer was told of its place in the queue."""
    return [event["queue_position"] for _, event in viewer.events if "queue_position" in event]


async def test_who_waits_is_told_each_place_and_moves_up() -> None:
    async with house(queue=2) as at:
        first, _ = await at.come()
        second, second_viewer = await at.come()
        third, third_viewer = await at.come()
        with pytest.raises(NoCapacity):
            await at.come()
        assert (first.state, second.state, third.state) == (
            State.IDLE,
            State.QUEUED,
            State.QUEUED,
        )
        await at.sessions.close(first, "deleted")
        await settle()
        assert (second.state, third.state) == (State.IDLE, State.QUEUED)
        assert places(second_viewer) == [1]
        assert second_viewer.names("session.ready") == [""]
        assert places(third_viewer) == [2, 1]
        await at.clock.advance(1)
        assert second_viewer.frames and not third_viewer.frames


async def test_who_leaves_the_queue_lets_those_behind_move_up() -> None:
    async with house(queue=3) as at:
        await at.come()
        second, second_viewer = await at.come()
        _, third_viewer = await at.come()
        last, _ = await at.come()
        await at.sessions.close(last, "deleted")
        assert places(second_viewer) == [1]
        await at.sessions.close(second, "deleted")
        assert places(third_viewer) == [2, 1]
        assert at.sessions.waiting == 1 and len(at.sessions) == 1
        with pytest.raises(NotFound):
            at.sessions.find(second.id, second.token)


async def test_who_waits_alone_is_forgotten_and_who_watches_is_not() -> None:
    async with house(queue=2, idle_timeout_s=10) as at:
        await at.come()
        alone = await at.sessions.create(GOOD)
        watching, _ = await at.come()
        await at.clock.advance(12)
        assert (alone.state, watching.state) == (State.CLOSED, State.QUEUED)
        assert watching.place == 1


async def test_the_time_of_who_waited_runs_from_its_place_on() -> None:
    async with house(queue=1, max_duration_s=30, closing_warning_s=0) as at:
        first, _ = await at.come()
        _, viewer = await at.come()
        await at.clock.advance(25)
        await at.sessions.close(first, "deleted")
        await at.clock.advance(25)
        assert not viewer.closed
        await at.clock.advance(6)
        assert viewer.closed


async def test_speech_that_is_pushed_while_it_waits_is_heard_later() -> None:
    async with house(queue=1) as at:
        first, _ = await at.come()
        waiting, viewer = await at.come()
        waiting.inbox.push(speech(1.0), AudioFormat(48_000))
        waiting.inbox.end_segment()
        await at.clock.advance(3)
        assert not viewer.frames
        with pytest.raises(Conflict):
            waiting.check_place()
        await at.sessions.close(first, "deleted")
        await at.clock.advance(3)
        assert len(viewer.speaking) == 25 and viewer.names() == ["started", "stopped"]


async def test_a_bad_portrait_costs_its_sender_the_place_and_nobody_else() -> None:
    async with house(queue=2) as at:
        first, _ = await at.come()
        bad, bad_viewer = await at.come(SessionRequest(BAD_PORTRAIT))
        good, _ = await at.come()
        await at.sessions.close(first, "deleted")
        await settle()
        assert bad_viewer.event_of("error")[1]["error"]["code"] == "no_face"
        assert bad_viewer.event_of("session.closed")[1]["reason"] == "no_face"
        assert (bad.state, good.state) == (State.CLOSED, State.IDLE)


async def test_a_worker_that_ends_under_who_waited_is_told_as_our_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def lost(*_: object, **__: object) -> None:
        raise WorkerLost("the worker ended under the request; try again")

    async with house(queue=1) as at:
        first, _ = await at.come()
        waiting, viewer = await at.come()
        monkeypatch.setattr(at.workers, "open", lost)
        await at.sessions.close(first, "deleted")
        await settle()
        assert waiting.state is State.CLOSED
        assert viewer.event_of("error")[1]["error"]["type"] == "server_error"
        assert viewer.events[-1][1] == {"type": "session.closed", "reason": "worker_lost"}


async def test_who_leaves_while_its_place_is_prepared_hears_nothing_after_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepared = asyncio.Event()
    async with house(queue=1) as at:
        prepare = at.workers.prepare

        async def slow(portrait: bytes, *args: Any, **options: Any) -> IdentityHandle:
            await prepared.wait()
            return await prepare(portrait, *args, **options)

        first, _ = await at.come()
        waiting, viewer = await at.come()
        monkeypatch.setattr(at.workers, "prepare", slow)
        await at.sessions.close(first, "deleted")
        await at.sessions.close(waiting, "deleted")
        assert at.sessions.free == 1
        prepared.set()
        await settle()
        assert viewer.events[-1][1] == {"type": "session.closed", "reason": "deleted"}
        assert not at.workers.callbacks and at.sessions.free == 1


async def test_a_bad_portrait_that_need_not_wait_takes_no_place() -> None:
    async with house() as at:
        with pytest.raises(PortraitError):
            await at.come(SessionRequest(BAD_PORTRAIT))
        session, _ = await at.come()
        assert session.state is State.IDLE


async def test_a_place_that_appears_by_itself_is_given_away() -> None:
    async with house(queue=1, max_sessions=0) as at:
        at.workers.measured = 1
        await at.come()
        waiting, _ = await at.come()
        at.workers.measured = 2
        await at.clock.advance(1.5)
        assert waiting.state is State.IDLE


async def test_a_server_that_stops_lets_a_sentence_end_and_admits_nobody() -> None:
    async with house(queue=1, drain_s=8) as at:
        session, viewer = await at.come()
        session.inbox.push(speech(3.0), AudioFormat(48_000))
        session.inbox.end_segment()
        await at.clock.advance(1)
        drained = asyncio.create_task(at.sessions.drain())
        await at.clock.advance(0.5)
        assert not drained.done()
        told = viewer.event_of("session.going_away")[1]
        assert told == {"type": "session.going_away", "reason": "shutdown", "in_ms": 8000}
        with pytest.raises(NoCapacity) as refusal:
            at.sessions.check_capacity()
        assert refusal.value.code == "shutting_down"
        await at.clock.advance(2.5)
        assert drained.done() and viewer.names() == ["started", "stopped"]
        await drained


async def test_a_sentence_without_end_does_not_stop_a_server_from_ending() -> None:
    async with house(drain_s=2) as at:
        session, _ = await at.come()
        session.inbox.push(speech(20.0), AudioFormat(48_000))
        await at.clock.advance(1)
        drained = asyncio.create_task(at.sessions.drain())
        await at.clock.advance(2.5)
        assert drained.done()
        await drained
