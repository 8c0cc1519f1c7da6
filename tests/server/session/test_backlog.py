"""The queue between a socket and its session: in order, bounded, dropped by interrupts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from server.session.backlog import MAX_BYTES, Backlog
from server.session.events import Event
from tests.support.clock import settle
from tests.support.scene import Scene, in_background, scene
from tests.support.sound import speech

pytestmark = pytest.mark.unit

SECOND = speech(1.0).tobytes()


@asynccontextmanager
async def behind(told: list[Event] | None = None) -> AsyncIterator[tuple[Scene, Backlog]]:
    """A scene and a backlog that feeds its session."""
    async with scene() as act:
        backlog = Backlog(act.session, (told if told is not None else []).append)
        feeder = asyncio.create_task(backlog.run())
        try:
            yield act, backlog
        finally:
            await in_background(feeder)


async def test_sound_and_commits_keep_their_order_and_a_bad_piece_costs_an_event() -> None:
    told: list[Event] = []
    async with behind(told) as (act, backlog):
        for _ in range(2):
            backlog.push(SECOND, 48_000, 1)
            backlog.commit()
        backlog.push(b"odd", 48_000, 1)
        await act.advance(4)
        assert act.viewer.names() == ["started", "stopped"] * 2
        assert act.viewer.heard().size == 96_000
        assert [event["error"]["code"] for event in told] == ["bad_request"]


async def test_an_interrupt_drops_sound_and_commits_that_came_before_it() -> None:
    async with behind() as (act, backlog):
        for _ in range(45):
            backlog.push(SECOND, 48_000, 1)
        backlog.commit()
        await act.advance(1)
        assert 25_000 <= act.session.snapshot()["buffered_ms"] <= 31_500
        await act.session.interrupt()
        backlog.push(SECOND, 48_000, 1)
        await act.advance(3)
        assert act.viewer.names() == ["started", "cleared", "started", "stopped"]
        fresh = [unit for _, unit in act.viewer.speaking if unit.generation == 1]
        assert len(fresh) == 25


@pytest.mark.parametrize("pcm", [SECOND, b""])
async def test_it_is_bounded_in_bytes_however_small_the_pieces_are(pcm: bytes) -> None:
    async with behind() as (act, backlog):
        for _ in range(31):
            backlog.push(SECOND, 48_000, 1)
        await settle()
        pushed = 0
        while pushed < 50_000:
            room = asyncio.create_task(backlog.wait_for_room())
            await asyncio.sleep(0)
            if not room.done():
                break
            backlog.push(pcm, 48_000, 1) if pcm else backlog.commit()
            pushed += 1
        assert 0 < pushed * (len(pcm) + 256) <= MAX_BYTES + len(pcm)
        await act.session.interrupt()
        await asyncio.wait_for(room, 20)


async def test_it_ends_when_all_was_handed_on_or_the_session_ends() -> None:
    async with scene() as act:
        for closing in (False, True):
            backlog = Backlog(act.session, lambda _: None)
            feeder = asyncio.create_task(backlog.run())
            for _ in range(45 if closing else 1):
                backlog.push(SECOND, 48_000, 1)
            await settle()
            assert not feeder.done()
            if closing:
                await act.session.aclose("deleted")
            else:
                backlog.end()
            await asyncio.wait_for(feeder, 20)
