"""Interrupts, in virtual time: everything old is gone at once, the picture goes on."""

from __future__ import annotations

import pytest

from tests.support.scene import FRAME, scene
from tests.support.sound import speech

pytestmark = pytest.mark.unit


async def test_an_interrupt_stops_sound_at_once_and_the_picture_goes_on() -> None:
    async with scene(cost=0.05) as act:
        await act.advance(1)
        await act.push(speech(10.0))
        await act.advance(2)
        played = len(act.viewer.frames)
        epoch = act.session.interrupt()
        await act.advance(1)
        after = act.viewer.frames[played:]
        assert epoch == 1
        assert all(frame.epoch == 1 and not frame.speaking for _, frame in after)
        assert after[0][1].keyframe
        assert after[0][0] - act.viewer.frames[played - 1][0] <= 0.05 + 0.05 + FRAME
        indices = [frame.index for _, frame in act.viewer.frames]
        assert indices == list(range(len(indices)))


async def test_an_interrupt_takes_back_what_outputs_have_not_sent() -> None:
    async with scene() as act:
        await act.push(speech(10.0))
        await act.advance(1)
        assert act.viewer.cleared == []
        at = act.clock.now()
        act.session.interrupt()
        assert act.viewer.cleared == [at]
        act.session.inbox.clear()
        assert act.viewer.cleared == [at]  # what was cut plays out


async def test_one_cleared_for_what_started_with_the_position_that_was_heard() -> None:
    async with scene() as act:
        await act.advance(1)
        await act.push(speech(10.0))
        act.session.inbox.end_segment()
        await act.push(speech(1.0))
        await act.advance(2)
        act.session.interrupt()
        await act.advance(1)
        assert act.viewer.names() == ["started", "cleared"]
        heard_ms = len(act.viewer.speaking) * 40
        assert act.viewer.event_of("output_audio_buffer.cleared")[1]["playback_position_ms"] == (
            heard_ms
        )


async def test_an_interrupt_while_idle_tells_nothing_but_raises_the_epoch() -> None:
    async with scene() as act:
        await act.advance(1)
        assert act.session.interrupt() == 1
        assert act.session.interrupt() == 2
        await act.advance(1)
        assert act.viewer.names() == []
        assert act.viewer.frames[-1][1].epoch == 2


async def test_speech_after_an_interrupt_is_a_new_segment() -> None:
    async with scene() as act:
        await act.advance(1)
        await act.push(speech(10.0))
        await act.advance(1)
        act.session.interrupt()
        pushed = speech(1.0, seed=9)
        asked = act.clock.now()
        await act.push(pushed)
        act.session.inbox.end_segment()
        await act.advance(3)
        assert act.viewer.names() == ["started", "cleared", "started", "stopped"]
        fresh = [(at, frame) for at, frame in act.viewer.speaking if frame.epoch == 1]
        assert len(fresh) == 25
        assert fresh[0][0] - asked <= 0.15


async def test_a_storm_of_interrupts_leaves_one_living_picture() -> None:
    async with scene(cost=0.08) as act:
        await act.push(speech(20.0))
        for _ in range(50):
            await act.advance(0.03)
            act.session.interrupt()
            await act.push(speech(1.0))
        act.session.inbox.end_segment()
        await act.advance(1.0)
        assert len(act.workers.requests) < 120
        before = len(act.viewer.frames)
        await act.advance(2)
        assert len(act.viewer.frames) - before >= 49
        names = act.viewer.names()
        assert names.count("started") == names.count("stopped") + names.count("cleared")


async def test_clearing_the_input_lets_what_was_cut_play_out() -> None:
    async with scene() as act:
        await act.advance(1)
        await act.push(speech(10.0))
        await act.advance(1)
        act.session.inbox.clear()
        await act.advance(1)
        assert act.viewer.names() == ["started", "stopped"]
        assert act.viewer.frames[-1][1].epoch == 0
        assert 1.0 <= len(act.viewer.speaking) * FRAME <= 1.4


async def test_a_cancelled_session_clears_its_segment_before_it_closes() -> None:
    async with scene() as act:
        await act.advance(1)
        await act.push(speech(10.0))
        await act.advance(1)
        await act.session.aclose("deleted")
        kinds = [event["type"] for _, event in act.viewer.events]
        assert kinds.index("output_audio_buffer.cleared") < kinds.index("session.closed")
        assert act.viewer.closed
