"""Echo mode, in virtual time: a microphone's sound at a steady, bounded delay."""

from __future__ import annotations

import numpy as np
import pytest

from server.session.scheduler import GAP_S, LIVE_LIMIT
from tests.support.scene import FRAME, scene
from tests.support.sound import room, speech
from tests.support.workers import SPEC

pytestmark = pytest.mark.unit

DELAY_S = SPEC.needed_frames * FRAME


async def test_a_microphone_is_heard_after_chunk_look_ahead_and_worker() -> None:
    async with scene(mode="echo", cost=0.04) as act:
        await act.advance(1)
        await act.push_live(np.concatenate([room(1.0), speech(1.0), room(1.0)]))
        at = act.viewer.event_of("output_audio_buffer.started")[0]
        assert at - 102.0 <= DELAY_S + 2 * 0.04 + 3 * FRAME


async def test_pauses_between_words_are_one_segment_long_ones_are_two() -> None:
    words = [speech(0.4), room(0.2), speech(0.4), room(1.0), speech(0.4), room(1.0)]
    async with scene(mode="echo") as act:
        await act.push_live(np.concatenate(words))
        assert act.viewer.names() == ["started", "stopped", "started", "stopped"]
        assert act.session.state.value in {"listening", "idle"}


async def test_the_quiet_room_is_played_too_but_nobody_talks() -> None:
    async with scene(mode="echo") as act:
        await act.push_live(room(2.0))
        assert act.viewer.sound(speaking_only=False).any()
        assert not act.viewer.speaking
        states = [event["state"] for _, event in act.viewer.events if "state" in event]
        assert "talking" not in states and "listening" in states


@pytest.mark.parametrize("speed", [1.004, 0.996])
async def test_clocks_that_differ_never_grow_the_delay(speed: float) -> None:
    sentence = np.concatenate([speech(1.6), room(0.4)])
    async with scene(mode="echo", cost=0.03) as act:
        await act.push_live(np.tile(sentence, 15), speed=speed)
        stored = act.session.snapshot()["buffered_ms"]
        assert stored <= 1000 * (DELAY_S + 0.16 + 5 * FRAME)


async def test_a_burst_of_late_packets_is_trimmed() -> None:
    async with scene(mode="echo") as act:
        await act.push_live(speech(1.0))
        await act.push(speech(3.0))
        await act.advance(0.1)
        most = DELAY_S + LIVE_LIMIT * FRAME + 0.4
        assert act.session.snapshot()["buffered_ms"] <= 1000 * most
        assert act.session.snapshot()["dropped_input_ms"] >= 2000


async def test_a_microphone_that_falls_silent_ends_the_segment() -> None:
    async with scene(mode="echo") as act:
        await act.push_live(speech(1.0))
        await act.advance(GAP_S + 1)
        assert act.viewer.names() == ["started", "stopped"]
        assert act.session.state.value == "idle"
        await act.push_live(speech(1.0))
        await act.advance(GAP_S + 1)
        assert act.viewer.names() == ["started", "stopped"] * 2


async def test_an_interrupt_drops_what_the_microphone_said() -> None:
    async with scene(mode="echo") as act:
        await act.push_live(speech(1.0))
        act.session.interrupt()
        await act.advance(0.5)
        assert act.viewer.names() == ["started", "cleared"]


async def test_a_steady_microphone_is_not_torn() -> None:
    async with scene(mode="echo", cost=0.05) as act:
        pushed = speech(6.0)
        await act.push_live(pushed)
        await act.advance(1)
        heard = act.viewer.sound()
        expected = (pushed.astype(np.float32) / 32768 * 32767).astype(np.int16)
        assert np.array_equal(heard[: expected.size], expected)
