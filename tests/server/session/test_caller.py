"""The caller's voice, in virtual time: the worker is told while the caller speaks, or never."""

from __future__ import annotations

import numpy as np
import pytest

from server.media.resampler import AudioFormat
from server.session.caller import HANG_S, Caller
from tests.support.scene import FRAME, Scene, scene
from tests.support.sound import room, speech

pytestmark = pytest.mark.unit

CALL = AudioFormat(48_000)


def told(act: Scene) -> list[bool]:
    """What each chunk's request says of the caller."""
    return [request.caller_speaks for _, request in act.workers.requests]


async def test_chunks_say_when_the_caller_speaks() -> None:
    async with scene(mode="echo") as act:
        await act.push_live(room(1.0))
        assert not any(told(act))
        before = len(told(act))
        await act.push_live(speech(2.0))
        during = told(act)[before:]
        assert sum(during) >= len(during) - 2 >= 8
        before = len(told(act))
        await act.push_live(room(2.0))
        after = told(act)[before:]
        assert sum(after) <= (HANG_S + 0.1) / (4 * FRAME) + 1 and not any(after[-6:])


async def test_a_call_that_ends_is_no_speech() -> None:
    async with scene(mode="echo") as act:
        await act.push_live(speech(1.0))
        await act.advance(1.0)
        assert told(act)[3] and not told(act)[-1]


async def test_pushed_speech_is_not_the_callers() -> None:
    async with scene(mode="speak") as act:
        await act.push(speech(2.0))
        await act.advance(3.0)
        assert told(act) and not any(told(act))


async def test_a_session_that_does_not_listen_tells_nothing() -> None:
    async with scene(mode="echo", listening=False) as act:
        await act.push_live(speech(2.0))
        assert act.session.caller is None and not any(told(act))


def test_of_a_long_piece_the_end_counts() -> None:
    caller = Caller()
    caller.hear(np.concatenate([speech(0.5), room(0.5)]), CALL, 10.0)
    assert not caller.speaks(10.0)
    caller.hear(np.concatenate([room(0.5), speech(0.5)]), CALL, 11.0)
    assert caller.speaks(11.0 + HANG_S / 2) and not caller.speaks(11.1 + HANG_S)
    caller.hear(np.zeros(0, np.int16), CALL, 12.0)
    assert not caller.speaks(12.0)
