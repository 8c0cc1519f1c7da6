"""The queue of what sockets push: in order, bounded, dropped by interrupts."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.errors import AudioError
from server.errors import Conflict
from server.media.resampler import AudioFormat
from server.session.inbox import MAX_AHEAD_S, PIECE_S, SpeechSource
from tests.support.clock import settle
from tests.support.scene import in_background, scene
from tests.support.sound import speech

pytestmark = pytest.mark.unit

SECOND = speech(1.0)
MONO = AudioFormat(48_000)


async def test_sound_and_commits_keep_their_order() -> None:
    async with scene() as act:
        inbox = act.session.inbox
        for _ in range(2):
            inbox.push(SECOND, MONO)
            inbox.end_segment()
        await act.advance(4)
        assert act.viewer.names() == ["started", "stopped"] * 2
        assert act.viewer.sound().size == 96_000


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
        inbox.end_segment()
        await act.advance(3)
        assert act.viewer.names() == ["started", "cleared", "started", "stopped"]
        fresh = [frame for _, frame in act.viewer.speaking if frame.epoch == 1]
        assert len(fresh) == 25


@pytest.mark.parametrize("pcm", [SECOND, None])
async def test_it_is_bounded_in_seconds_however_small_the_pieces_are(
    pcm: NDArray[np.int16] | None,
) -> None:
    async with scene() as act:
        inbox = act.session.inbox
        for _ in range(31):
            inbox.push(SECOND, MONO)
        await settle()
        pushed = 0
        while pushed < 100_000:
            room = asyncio.create_task(inbox.wait_for_room())
            await asyncio.sleep(0)
            if not room.done():
                break
            inbox.push(pcm, MONO) if pcm is not None else inbox.end_segment()
            pushed += 1
        seconds = 0.0 if pcm is None else len(pcm) / MONO.rate
        assert MAX_AHEAD_S <= pushed * (seconds + PIECE_S) + 1 <= MAX_AHEAD_S + seconds + 2
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
        assert act.session.snapshot()["buffered_ms"] == 0


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
            act.session.inbox.push(SECOND[:48], MONO)
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


class Pushed:
    """Stands for an inbox: keeps what was pushed."""

    def __init__(self) -> None:
        self.borders = 0
        self.formats: set[AudioFormat] = set()
        self.samples = np.zeros(0, np.int16)

    def push(self, samples: NDArray[np.int16], audio_format: AudioFormat) -> None:
        """Keep samples."""
        assert samples.size and samples.size % audio_format.channels == 0
        self.formats.add(audio_format)
        self.samples = np.concatenate([self.samples, samples])


@given(st.data(), st.integers(1, 2))
@settings(max_examples=200, deadline=None)
def test_messages_cut_at_any_byte_give_the_same_samples(data: st.DataObject, channels: int) -> None:
    sound = speech(0.01, seed=channels)
    pcm = sound.tobytes()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(pcm)), max_size=12)))
    inbox = Pushed()
    source = SpeechSource(inbox, AudioFormat(16_000, channels))  # type: ignore[arg-type]
    for start, end in zip([0, *cuts], [*cuts, len(pcm)], strict=True):
        source.push(pcm[start:end])
    assert np.array_equal(inbox.samples, sound)
    assert inbox.formats == {AudioFormat(16_000, channels)}


@pytest.mark.parametrize("by", ["commit", "clear", "interrupt", "format"])
@pytest.mark.parametrize(("channels", "size"), [(1, 1), (2, 1), (2, 2), (2, 3)])
async def test_a_broken_sample_is_no_part_of_what_does_not_continue_it(
    by: str, channels: int, size: int
) -> None:
    async with scene() as act:
        inbox = act.session.inbox
        source = SpeechSource(inbox, AudioFormat(48_000, channels))
        source.push(bytes([127]) * size)
        if by == "commit":
            inbox.end_segment()
        elif by == "clear":
            inbox.clear()
        elif by == "interrupt":
            act.session.interrupt()
        else:
            source.announce(AudioFormat(24_000, channels))
            source.announce(AudioFormat(48_000, channels))
        pushed = speech(0.4)
        source.push(np.repeat(pushed, channels).tobytes())
        inbox.end_segment()
        await act.advance(2)
        assert np.abs(act.viewer.sound().astype(int) - pushed).max() <= 1


async def test_two_sockets_never_complete_each_others_samples() -> None:
    async with scene() as act:
        ours, theirs = (SpeechSource(act.session.inbox, MONO) for _ in range(2))
        pushed = speech(0.4)
        ours.push(pushed.tobytes()[:1001])
        theirs.push(b"\x7f")
        ours.push(pushed.tobytes()[1001:])
        act.session.inbox.end_segment()
        await act.advance(2)
        assert np.abs(act.viewer.sound().astype(int) - pushed).max() <= 1
