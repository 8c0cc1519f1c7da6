"""The queue of what sockets push: in order, bounded, dropped by interrupts."""

from __future__ import annotations

import asyncio

import pytest

from models.errors import AudioError, LiveheadError
from server.errors import Conflict
from server.media.resampler import AudioFormat
from server.session.inbox import MAX_BYTES, SpeechInbox
from tests.support.clock import settle
from tests.support.scene import in_background, scene
from tests.support.sound import speech

pytestmark = pytest.mark.unit

SECOND = speech(1.0).tobytes()
MONO = AudioFormat(48_000)


def refused(inbox: SpeechInbox, pcm: bytes) -> list[str]:
    """Push; the code of the error, if any."""
    try:
        inbox.push(pcm, MONO)
    except LiveheadError as error:
        return [error.code]
    return []


async def test_sound_and_commits_keep_their_order_and_a_bad_piece_costs_an_event() -> None:
    async with scene() as act:
        inbox = act.session.inbox
        codes: list[str] = []
        for _ in range(2):
            codes += refused(inbox, SECOND)
            inbox.end_segment()
        codes += refused(inbox, b"odd")
        await act.advance(4)
        assert act.viewer.names() == ["started", "stopped"] * 2
        assert act.viewer.sound().size == 96_000
        assert codes == ["bad_request"]


async def test_an_interrupt_drops_sound_and_commits_that_came_before_it() -> None:
    async with scene() as act:
        inbox = act.session.inbox
        for _ in range(45):
            inbox.push(SECOND, MONO)
        inbox.end_segment()
        await act.advance(1)
        assert 25_000 <= act.session.snapshot()["buffered_ms"] <= 31_500
        act.session.interrupt()
        inbox.push(SECOND, MONO)
        await act.advance(3)
        assert act.viewer.names() == ["started", "cleared", "started", "stopped"]
        fresh = [frame for _, frame in act.viewer.speaking if frame.epoch == 1]
        assert len(fresh) == 25


@pytest.mark.parametrize("pcm", [SECOND, b""])
async def test_it_is_bounded_in_bytes_however_small_the_pieces_are(pcm: bytes) -> None:
    async with scene() as act:
        inbox = act.session.inbox
        for _ in range(31):
            inbox.push(SECOND, MONO)
        await settle()
        pushed = 0
        while pushed < 50_000:
            room = asyncio.create_task(inbox.wait_for_room())
            await asyncio.sleep(0)
            if not room.done():
                break
            inbox.push(pcm, MONO) if pcm else inbox.end_segment()
            pushed += 1
        assert 0 < pushed * (len(pcm) + 256) <= MAX_BYTES + len(pcm)
        act.session.interrupt()
        await asyncio.wait_for(room, 20)


async def test_it_ends_when_all_was_handed_on_or_the_session_ends() -> None:
    async with scene() as act:
        for closing in (False, True):
            inbox = act.session.inbox
            for _ in range(45 if closing else 1):
                inbox.push(SECOND, MONO)
            joined = asyncio.create_task(inbox.join())
            assert not joined.done()
            if closing:
                await settle()
                assert not joined.done()
                await act.session.aclose("deleted")
            await asyncio.wait_for(joined, 20)
        with pytest.raises(Conflict):
            inbox.push(SECOND, MONO)
        with pytest.raises(Conflict):
            inbox.end_segment()


async def test_one_long_message_is_handed_on_in_slices_while_there_is_room() -> None:
    async with scene() as act:
        pushing = asyncio.create_task(act.push(speech(60.0)))
        await settle()
        assert 30_000 <= act.session.snapshot()["buffered_ms"] <= 31_000
        act.session.inbox.clear()
        await settle()
        assert pushing.done() and act.session.snapshot()["buffered_ms"] == 0
        await in_background(pushing)


def test_a_format_that_cannot_be_taken_is_refused_before_it_is_queued() -> None:
    with pytest.raises(AudioError, match="rate"):
        AudioFormat(4_000)
    with pytest.raises(AudioError, match="channels"):
        AudioFormat(16_000, 3)


async def test_many_small_pieces_leave_every_other_task_its_turn() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with scene() as act:
        for _ in range(1000):
            act.session.inbox.push(SECOND[:96], MONO)
        counting = asyncio.create_task(count())
        await act.session.inbox.join()
        assert turns >= 900
        await in_background(counting)


async def test_an_interrupt_overtakes_everything_that_is_queued() -> None:
    async with scene() as act:
        for _ in range(60):
            act.session.inbox.push(SECOND, MONO)
        await act.advance(1)
        assert act.session.interrupt() == 1  # within the call, not in a turn of its own
        assert act.session.snapshot()["buffered_ms"] == 0
        await asyncio.wait_for(act.session.inbox.join(), 1)
