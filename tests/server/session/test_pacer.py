"""The pacer alone: when what is played, what slips, what is skipped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from server.media.av_frame import AVFrame
from server.session.audience import Audience
from server.session.incoming import IDLE, FrameTag, Segment
from server.session.metrics import SessionMetrics
from server.session.pacer import Pacer, QueuedFrame
from server.session.scheduler import ChunkScheduler
from server.session.state import SessionStatus
from tests.support.clock import ManualClock
from tests.support.output import Recorder
from tests.support.workers import SPEC

pytestmark = pytest.mark.unit

T = 0.04
TALK = FrameTag(Segment("seg_1", 0.0), 1920)


@dataclass
class Stage:
    """A running pacer and what it played."""

    clock: ManualClock
    pacer: Pacer
    played: list[tuple[float, AVFrame]] = field(default_factory=list)

    @property
    def pictures(self) -> list[bytes]:
        """Names of the frames that were played."""
        return [frame.video for _, frame in self.played]

    @property
    def times(self) -> list[float]:
        """When, in milliseconds after the start."""
        return [round(1000 * (at - 100), 3) for at, _ in self.played]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    clock = ManualClock()
    recorder, audience = Recorder(clock), Audience()
    audience.add(recorder)
    status = SessionStatus(ChunkScheduler(SPEC), audience, SessionMetrics(), clock)
    pacer = Pacer(clock, T, audience, status)
    pacer.resume()
    task = asyncio.create_task(pacer.run())
    yield Stage(clock, pacer, recorder.frames)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def frames(names: str, tag: FrameTag = IDLE) -> list[QueuedFrame]:
    """One frame per letter."""
    return [QueuedFrame(AVFrame(0, 0, False, False, name.encode(), (), b""), tag) for name in names]


async def test_frames_are_played_a_frame_apart(stage: Stage) -> None:
    stage.pacer.add(frames("abcd"))
    await stage.clock.advance(1)
    assert stage.times == [0, 40, 80, 120]


async def test_the_clock_goes_on_between_chunks(stage: Stage) -> None:
    stage.pacer.add(frames("ab"))
    await stage.clock.advance(0.05)
    stage.pacer.add(frames("cd"))
    await stage.clock.advance(1)
    assert stage.times == [0, 40, 80, 120]
    assert stage.pacer.late_frames == 0


async def test_a_late_frame_plays_at_once_and_shifts_what_follows(stage: Stage) -> None:
    stage.pacer.add(frames("ab"))
    await stage.clock.advance(0.13)
    stage.pacer.add(frames("cd"))
    await stage.clock.advance(1)
    assert stage.times == [0, 40, 130, 170]
    assert stage.pacer.late_frames == 1


async def test_a_loop_that_woke_late_catches_up(stage: Stage) -> None:
    stage.pacer.add(frames("abcdef"))
    await stage.clock.advance(0.01)
    await stage.clock.jump(0.1)
    await stage.clock.advance(1)
    assert stage.times == [0, 110, 110, 120, 160, 200]
    assert stage.pacer.late_frames == 0


async def test_a_loop_that_slept_long_slips(stage: Stage) -> None:
    stage.pacer.add(frames("abcd"))
    await stage.clock.advance(0.01)
    await stage.clock.jump(3)
    await stage.clock.advance(1)
    assert stage.times == [0, 3010, 3050, 3090]
    assert stage.pacer.late_frames == 1


async def test_idle_frames_before_speech_are_skipped(stage: Stage) -> None:
    stage.pacer.add(frames("abcd"))
    await stage.clock.advance(0.05)
    stage.pacer.add(frames("S", TALK), starts=True)
    await stage.clock.advance(1)
    assert stage.pictures == [b"a", b"b", b"S"]
    assert stage.times == [0, 40, 80]
    assert stage.pacer.skipped_frames == 2


async def test_what_is_kept_of_idle_frames_is_the_beginning(stage: Stage) -> None:
    stage.pacer.add(frames("abcd"))
    await stage.clock.advance(0.01)
    stage.pacer.add(frames("S", TALK), starts=True, keep=1)
    await stage.clock.advance(1)
    assert stage.pictures == [b"a", b"b", b"S"]


async def test_speech_is_never_skipped(stage: Stage) -> None:
    stage.pacer.add(frames("ST", TALK))
    stage.pacer.add(frames("ab"))
    stage.pacer.add(frames("U", TALK), starts=True)
    await stage.clock.advance(1)
    assert stage.pictures == [b"S", b"T", b"U"]


async def test_the_index_counts_what_is_played(stage: Stage) -> None:
    stage.pacer.add(frames("abcd"))
    await stage.clock.advance(0.05)
    stage.pacer.clear()
    stage.pacer.add(frames("ef"))
    await stage.clock.advance(1)
    assert [frame.index for _, frame in stage.played] == [0, 1, 2, 3]


async def test_after_a_clear_nothing_is_late(stage: Stage) -> None:
    stage.pacer.add(frames("ab"))
    await stage.clock.advance(1)
    stage.pacer.clear()
    await stage.clock.advance(1)
    stage.pacer.add(frames("cd"))
    await stage.clock.advance(1)
    assert stage.times == [0, 40, 2000, 2040]
    assert stage.pacer.late_frames == 0


async def test_a_pause_keeps_speech_and_drops_idle(stage: Stage) -> None:
    stage.pacer.add([*frames("ab"), *frames("ST", TALK), *frames("c")])
    await stage.clock.advance(0.01)
    stage.pacer.pause()
    await stage.clock.advance(5)
    assert stage.pictures == [b"a"]
    stage.pacer.resume()
    await stage.clock.advance(1)
    assert stage.pictures == [b"a", b"S", b"T"]
    assert stage.pacer.late_frames == 0


async def test_buffered_seconds_end_when_the_queue_is_empty(stage: Stage) -> None:
    assert stage.pacer.buffered_s(stage.clock.now()) == 0
    stage.pacer.add(frames("abcd"))
    await stage.clock.advance(0.01)
    assert stage.pacer.buffered_s(stage.clock.now()) == pytest.approx(0.03 + 3 * T)
    await stage.clock.advance(0.5)
    assert stage.pacer.buffered_s(stage.clock.now()) == 0
