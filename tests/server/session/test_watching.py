"""Who watches decides what is made: nothing for nobody, keyframes for newcomers."""

from __future__ import annotations

import pytest

from server.errors import Conflict
from server.session.lifetime import Ending, Lifetime, Limits
from server.session.request import Mode
from server.session.state import State, move
from tests.support.output import Recorder
from tests.support.scene import FRAME, scene
from tests.support.sound import speech

pytestmark = pytest.mark.unit


async def test_nothing_is_made_while_nobody_watches() -> None:
    async with scene(attach=False) as act:
        await act.push(speech(2.0))
        await act.advance(5)
        assert act.workers.requests == []
        listener = Recorder(act.clock, "none")
        act.session.attach(listener)
        await act.advance(5)
        assert act.workers.requests == []
        assert act.session.state is State.READY


async def test_the_model_rests_when_the_last_viewer_leaves_and_speech_waits() -> None:
    async with scene() as act:
        await act.advance(1)
        await act.push(speech(3.0))
        act.session.inbox.end_segment()
        await act.advance(1)
        act.session.detach(act.viewer)
        await act.advance(0.5)
        made = len(act.workers.requests)
        await act.advance(10)
        assert len(act.workers.requests) == made
        again = Recorder(act.clock)
        act.session.attach(again)
        await act.advance(3)
        assert len(act.viewer.speaking) + len(again.speaking) == 75
        assert again.names() == ["stopped"]


async def test_a_newcomer_gets_a_keyframe_soon() -> None:
    async with scene() as act:
        await act.advance(1)
        act.session.request_keyframe()
        act.session.request_keyframe()
        asked = act.clock.now()
        await act.advance(1)
        assert act.workers.keyframes == 1
        assert any(
            frame.keyframe and at - asked < 0.4 for at, frame in act.viewer.frames if at > asked
        )


async def test_speech_waits_until_somebody_can_see_it() -> None:
    async with scene(attach=False) as act:
        connecting = Recorder(act.clock, ready=False)
        act.session.attach(connecting)
        await act.push(speech(1.0))
        await act.advance(1)
        assert connecting.frames and not connecting.speaking
        connecting.ready = True
        connected = act.clock.now()
        await act.advance(2)
        assert len(connecting.speaking) == 25
        assert connecting.speaking[0][0] - connected <= 3 * FRAME + 0.02


@pytest.mark.parametrize("mode", ["speak", "echo"])
async def test_a_new_call_takes_over_from_the_old_while_somebody_speaks(mode: Mode) -> None:
    async with scene(mode=mode) as act:
        await act.push_live(speech(2.0))
        connecting = Recorder(act.clock, ready=False)
        act.session.attach(connecting)
        act.session.detach(act.viewer)
        await act.push_live(speech(1.0))
        before = len(connecting.frames)
        assert before > 20 and not connecting.frames[-1][1].speaking
        connecting.ready = True
        await act.push_live(speech(1.0))
        act.session.inbox.end_segment()
        await act.advance(2)
        assert connecting.speaking
        assert connecting.names() == ["stopped", "started", "stopped"]
        names = [event["segment_id"] for _, event in connecting.events if "segment_id" in event]
        assert names[0] != names[1] == names[2]


async def test_jpeg_is_made_only_for_those_who_want_it() -> None:
    async with scene() as act:
        await act.advance(1)
        assert not any(frame.jpeg for _, frame in act.viewer.frames)
        jpeg_viewer = Recorder(act.clock, "jpeg")
        act.session.attach(jpeg_viewer)
        await act.advance(1)
        assert jpeg_viewer.frames[-1][1].jpeg
        act.session.detach(jpeg_viewer)
        await act.advance(1)
        assert not act.viewer.frames[-1][1].jpeg


async def test_states_are_told_as_they_change() -> None:
    async with scene() as act:
        await act.advance(1)
        await act.push(speech(1.0))
        act.session.inbox.end_segment()
        await act.advance(3)
        states = [event["state"] for _, event in act.viewer.events if "state" in event]
        assert states == ["idle", "listening", "talking", "idle"]


async def test_a_session_alone_ends_and_one_with_company_does_not() -> None:
    async with scene(limits=Limits(resume_s=5)) as act:
        await act.advance(20)
        assert act.retired == []
        act.session.detach(act.viewer)
        await act.advance(4)
        assert act.retired == []
        await act.advance(2)
        assert act.retired == ["idle_timeout"]


async def test_a_caller_who_comes_back_in_time_hears_the_rest() -> None:
    async with scene(limits=Limits(resume_s=5)) as act:
        await act.push(speech(3.0))
        act.session.inbox.end_segment()
        await act.advance(1.5)
        act.session.detach(act.viewer)
        await act.advance(4)
        again = Recorder(act.clock)
        act.session.attach(again)
        await act.advance(20)
        assert act.retired == []
        assert again.names() == ["stopped"] and again.speaking


async def test_who_never_came_is_awaited_longer_and_by_keeping_alive_longer_still() -> None:
    limits = Limits(idle_timeout_s=10, resume_s=2)
    async with scene(limits=limits, attach=False) as act:
        await act.advance(8)
        act.session.keep_alive()
        await act.advance(8)
        assert act.retired == []
        await act.advance(3)
        assert act.retired == ["idle_timeout"]


async def test_the_longest_duration_is_announced_then_kept() -> None:
    async with scene(limits=Limits(max_duration_s=20, closing_warning_s=5)) as act:
        await act.advance(16.5)
        at, event = act.viewer.event_of("session.going_away")
        assert event["reason"] == "max_duration" and 3000 <= event["in_ms"] <= 5000
        assert act.retired == []
        await act.advance(5)
        assert act.retired == ["max_duration"]
        assert act.viewer.names("session.going_away") == [""]


async def test_a_lost_worker_ends_the_session_with_a_reason() -> None:
    async with scene() as act:
        await act.advance(1)
        act.workers.lose(act.session.id)
        assert act.viewer.event_of("error")[1]["error"]["code"] == "worker_lost"
        assert act.retired == ["worker_lost"]


async def test_metrics_come_once_a_second() -> None:
    async with scene() as act:
        await act.advance(5.5)
        numbers = [event for _, event in act.viewer.events if event["type"] == "metrics.updated"]
        assert len(numbers) == 5
        assert {"first_frame_ms", "ms_per_frame", "buffered_ms", "late_units"} <= set(numbers[0])


async def test_a_closed_session_takes_nothing_and_closes_once() -> None:
    async with scene() as act:
        await act.advance(1)
        await act.session.aclose("deleted")
        await act.session.aclose("deleted")
        assert act.session.state is State.CLOSED
        assert act.viewer.names("session.closed") == [""]
        with pytest.raises(Conflict):
            await act.push(speech(1.0))
        with pytest.raises(Conflict):
            act.session.attach(Recorder(act.clock))


async def test_a_task_that_fails_ends_the_session(caplog: pytest.LogCaptureFixture) -> None:
    async with scene() as act:
        await act.advance(0.5)

        def broken(frame: object) -> None:
            raise RuntimeError("broken output")

        act.viewer.send = broken  # type: ignore[method-assign]
        await act.advance(0.5)
        assert act.retired == ["internal"]
        assert "failed" in caplog.text and act.session.token not in caplog.text


async def test_tokens_admit_only_themselves() -> None:
    async with scene() as act:
        assert act.session.admits(act.session.token)
        assert not act.session.admits(act.session.token[::-1])
        assert not act.session.admits("é")
        assert len(act.session.token) >= 40


def test_moves_that_make_no_sense_are_refused() -> None:
    assert move(State.NEW, State.READY) is State.READY
    with pytest.raises(ValueError, match="closed"):
        move(State.CLOSED, State.IDLE)
    with pytest.raises(ValueError, match="talking"):
        move(State.READY, State.TALKING)


def test_a_lifetime_warns_once_and_forgives_company() -> None:
    life = Lifetime(Limits(10, 5, 100, 20), now=0)
    life.begin(0)
    assert life.check(9) is None
    assert life.check(10) == Ending("idle_timeout")
    life.accompanied()
    assert life.check(79) is None
    assert life.check(81) == Ending("max_duration", 19_000)
    assert life.check(82) is None
    assert life.check(100) == Ending("max_duration")
