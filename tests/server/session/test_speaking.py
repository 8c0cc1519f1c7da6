"""How a session speaks, in virtual time: prompt, steady, complete, whatever the worker does."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from server.session.scheduler import END_S, GAP_S, MAX_BUFFER_S
from server.session.trace import SessionTrace
from server.session.workers import ChunkRequest
from tests.support.scene import CHUNK, FRAME, SAMPLES, gaps, in_background, scene
from tests.support.sound import speech
from tests.support.workers import SPEC, features_of

pytestmark = pytest.mark.unit


def padded(samples: np.ndarray) -> np.ndarray:
    """Filled up with silence to whole frames, as a segment's end is played."""
    return np.concatenate([samples, np.zeros(-len(samples) % SAMPLES, np.int16)])


def as_played(samples: np.ndarray) -> np.ndarray:
    """What reaches the outputs of samples at their rate."""
    return (samples.astype(np.float32) / 32768 * 32767).astype(np.int16)


async def test_idle_plays_25_frames_a_second_for_ever() -> None:
    async with scene() as act:
        await act.advance(30)
        viewer = act.viewer
        assert len(viewer.frames) >= 749
        assert np.allclose(gaps(viewer.times), FRAME, atol=1e-9)
        assert [frame.index for _, frame in viewer.frames] == list(range(len(viewer.frames)))
        assert not any(np.frombuffer(frame.pcm, np.int16).any() for _, frame in viewer.frames)
        assert act.session.snapshot()["late_units"] == 0


@pytest.mark.parametrize("moment", [0.0, 0.03, 0.06, 0.09, 0.12, 0.15])
async def test_speech_does_not_wait_for_idle_pictures_that_are_being_made(moment: float) -> None:
    cost = 0.1
    async with scene(cost=cost) as act:
        act.workers.gives_way = True
        await act.advance(2 + moment)
        pushed_at = act.clock.now()
        pushed = speech(1.0)
        await act.push(pushed)
        act.session.inbox.end_segment()
        await act.advance(3)
        spoken = [when for when, frame in act.viewer.frames if frame.speaking]
        assert spoken[0] - pushed_at < cost + FRAME  # the next frame's turn comes within a frame
        assert np.allclose(gaps(spoken), FRAME, atol=1e-9)
        assert np.array_equal(act.viewer.sound(), as_played(pushed))
        assert max(gaps(act.viewer.times)) <= cost + FRAME
        assert [frame.index for _, frame in act.viewer.frames] == list(
            range(len(act.viewer.frames))
        )


async def test_a_chunk_is_played_from_its_first_frame_on() -> None:
    first_s, rest_s = 0.06, 0.03
    async with scene(cost=first_s) as act:
        act.workers.gives_way, act.workers.rest_s = True, rest_s
        await act.advance(2)
        pushed_at, pushed = act.clock.now(), speech(2.0)
        await act.push(pushed)
        act.session.inbox.end_segment()
        await act.advance(4)
        spoken = [when for when, frame in act.viewer.frames if frame.speaking]
        assert spoken[0] - pushed_at < first_s + FRAME
        assert np.allclose(gaps(spoken), FRAME, atol=1e-9)
        assert np.array_equal(act.viewer.sound(), as_played(pushed))
        assert [frame.index for _, frame in act.viewer.frames] == list(
            range(len(act.viewer.frames))
        )


async def test_a_chunk_that_comes_in_parts_is_told_once_and_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[int] = []
    monkeypatch.setattr(SessionTrace, "chunk", lambda self, tags, *_: told.append(len(tags)))
    async with scene() as act:
        act.workers.rest_s = 0.02
        await act.advance(2)
        asked = len(act.workers.requests)
    assert asked - 1 <= len(told) <= asked and set(told) == {SPEC.chunk_frames}


async def test_an_interrupt_between_the_parts_of_a_chunk_drops_the_second() -> None:
    async with scene(cost=0.06) as act:
        act.workers.rest_s = 0.1
        await act.advance(2)
        await act.push(speech(2.0))
        while not act.viewer.speaking:
            await act.advance(0.01)
        act.session.interrupt()
        heard = len(act.viewer.speaking)
        await act.advance(2)
        assert len(act.viewer.speaking) == heard
        assert max(gaps(act.viewer.times)) <= 0.06 + 0.1 + FRAME


@pytest.mark.parametrize("fps", [24.0, 30.0])
async def test_other_frame_rates_stay_in_step(fps: float) -> None:
    spec = replace(SPEC, fps=fps, chunk_frames=9, lookahead_frames=3)
    async with scene(spec=spec) as act:
        await act.advance(1)
        pushed = speech(6.0)
        await act.push(pushed)
        act.session.inbox.end_segment()
        await act.advance(8)
        assert np.allclose(gaps(act.viewer.times), 1 / fps, atol=1e-9)
        assert len(act.viewer.speaking) == 6 * fps
        assert np.array_equal(act.viewer.sound(), as_played(pushed))
        # what the model hears of each frame is as loud as what is played with it, to the last frame
        requests = [request for _, request in act.workers.requests]
        heard = np.concatenate([features_of(request, spec)[:9] for request in requests])
        played = np.concatenate(
            [np.frombuffer(request.sound, np.int16).reshape(9, -1) for request in requests]
        )
        assert np.array_equal(np.abs(heard).max(1) > 0.01, np.abs(played).max(1) > 0)


async def test_idle_chunks_are_asked_for_just_in_time() -> None:
    async with scene(cost=0.05) as act:
        await act.advance(10)
        requested = len(act.workers.requests) * SPEC.chunk_frames
        assert requested - len(act.viewer.frames) <= 2 * SPEC.chunk_frames


async def test_speech_is_played_whole_and_in_order() -> None:
    async with scene() as act:
        await act.advance(1.01)
        pushed = speech(3.3)
        await act.push(pushed)
        act.session.inbox.end_segment()
        await act.advance(5)
        assert np.array_equal(act.viewer.sound(), padded(as_played(pushed)))
        speaking = [at for at, _ in act.viewer.speaking]
        assert np.allclose(gaps(speaking), FRAME, atol=1e-9)
        assert act.viewer.names() == ["started", "stopped"]
        assert act.viewer.event_of("output_audio_buffer.stopped")[1]["playback_position_ms"] == 3300


async def test_the_model_hears_what_is_played_and_what_follows() -> None:
    async with scene() as act:
        await act.advance(1)
        await act.push(speech(2.0, 16_000), rate=16_000)
        act.session.inbox.end_segment()
        await act.advance(4)
        requests = [request for _, request in act.workers.requests if any(request.speaking)]
        F = SPEC.chunk_frames
        for request, following in zip(requests, requests[1:], strict=False):
            ahead = features_of(request)[F:]
            assert np.array_equal(ahead, features_of(following)[: SPEC.lookahead_frames])
        heard = np.concatenate([features_of(request)[:F].ravel() for request in requests])
        assert np.count_nonzero(heard) == 32_000


@pytest.mark.parametrize("cost", [0.01, 0.06, 0.12])
async def test_speech_begins_promptly_from_idle_at_any_moment(cost: float) -> None:
    """It waits for the chunk that is being made, then for its own; never for idle frames."""
    delays = []
    for phase in range(16):
        async with scene(cost=cost) as act:
            await act.advance(2 + phase * CHUNK / 16)
            asked = act.clock.now()
            await act.push(speech(1.0))
            await act.advance(1)
            delays.append(act.viewer.speaking[0][0] - asked)
    assert max(delays) <= 2 * cost + FRAME + 1e-6
    assert sum(delays) / len(delays) <= 1.6 * cost + FRAME / 2


async def test_the_first_speech_frame_is_a_keyframe_when_idle_frames_were_skipped() -> None:
    async with scene(cost=0.03) as act:
        await act.advance(1.5)
        await act.push(speech(1.0))
        await act.advance(0.5)
        assert act.viewer.speaking[0][1].keyframe
        indices = [frame.index for _, frame in act.viewer.frames]
        assert indices == list(range(len(indices)))


async def test_a_live_edge_begins_after_a_chunk_and_its_look_ahead() -> None:
    async with scene(cost=0.03) as act:
        await act.advance(1)
        asked = act.clock.now()
        pushed = speech(4.0)
        await act.push_live(pushed)
        act.session.inbox.end_segment()
        await act.advance(1)
        first = act.viewer.speaking[0][0] - asked
        assert first <= SPEC.needed_frames * FRAME + 2 * 0.03 + 2 * FRAME
        assert act.viewer.sound().size == padded(pushed).size
        assert act.viewer.names() == ["started", "stopped"]


async def test_a_segment_ends_by_itself_when_nothing_comes_for_long() -> None:
    async with scene() as act:
        await act.advance(1)
        await act.push(speech(1.0))
        await act.advance(END_S - 0.1)
        assert act.viewer.names() == ["started"]
        assert act.session.state.value == "talking"
        await act.advance(0.1 + 4 * CHUNK)
        assert act.viewer.names() == ["started", "stopped"]
        assert act.viewer.sound().size == 48_000
        assert act.session.state.value == "idle"


async def test_a_scrap_of_speech_is_spoken_without_commit() -> None:
    async with scene() as act:
        await act.advance(1)
        await act.push(speech(0.03))
        await act.advance(GAP_S + 0.2)
        assert len(act.viewer.speaking) == 1
        await act.advance(END_S)
        stopped = act.viewer.event_of("output_audio_buffer.stopped")[1]
        assert stopped["playback_position_ms"] == 30


@pytest.mark.parametrize("ends", ["commit", "clear", "interrupt"])
async def test_pauses_of_the_sender_stay_inside_one_segment(ends: str) -> None:
    async with scene(cost=0.03) as act:
        await act.advance(1)
        pieces = [speech(seconds, seed=k) for k, seconds in enumerate((0.6, 0.63, 0.05, 0.6))]
        for piece, pause in zip(pieces, (1.1, 0.95, 3.0, 1.0), strict=True):
            await act.push(piece)
            await act.advance(pause)
        assert act.viewer.names() == ["started"]
        if ends == "commit":
            act.session.inbox.end_segment()
        elif ends == "clear":
            act.session.inbox.clear()
        else:
            act.session.interrupt()
        await act.advance(1)
        assert act.viewer.names() == ["started", "cleared" if ends == "interrupt" else "stopped"]
        told = [event for _, event in act.viewer.events if "segment_id" in event]
        assert [event["segment_id"] for event in told] == ["seg_1", "seg_1"]
        assert told[1]["playback_position_ms"] == 1880
        assert np.array_equal(act.viewer.sound()[:28_800], as_played(pieces[0]))
        assert max(gaps(act.viewer.times)) <= FRAME + (0.03 if ends == "interrupt" else 1e-6)


async def test_bursts_with_pauses_shorter_than_what_is_stored_stay_one_segment() -> None:
    async with scene() as act:
        await act.advance(1)
        for k in range(4):
            await act.push(speech(1.0, seed=k))
            await act.advance(0.9)
        act.session.inbox.end_segment()
        await act.advance(2)
        assert act.viewer.names() == ["started", "stopped"]
        assert act.viewer.sound().size == 4 * 48_000
        speaking = [at for at, _ in act.viewer.speaking]
        assert np.allclose(gaps(speaking), FRAME, atol=1e-9)


async def test_segments_follow_each_other_without_a_pause() -> None:
    async with scene() as act:
        await act.advance(1)
        for k in range(3):
            await act.push(speech(0.5, seed=k))
            act.session.inbox.end_segment()
        await act.advance(3)
        assert act.viewer.names() == ["started", "stopped"] * 3
        speaking = [at for at, _ in act.viewer.speaking]
        assert np.allclose(gaps(speaking), FRAME, atol=1e-9)
        names = [event.get("segment_id") for _, event in act.viewer.events if "segment_id" in event]
        assert names == ["seg_1", "seg_1", "seg_2", "seg_2", "seg_3", "seg_3"]


async def test_a_worker_that_stumbles_delays_speech_but_loses_none() -> None:
    slow = {12, 13, 20}
    cost = lambda request: 0.5 if request.sequence in slow else 0.05  # noqa: E731
    async with scene(cost=cost) as act:
        await act.advance(0.5)
        pushed = speech(5.0)
        await act.push(pushed)
        act.session.inbox.end_segment()
        await act.advance(10)
        assert act.viewer.sound().size == padded(pushed).size
        assert act.session.snapshot()["late_units"] >= 2
        assert act.viewer.names() == ["started", "stopped"]
        indices = [frame.index for _, frame in act.viewer.frames]
        assert indices == list(range(len(indices)))


async def test_a_worker_slower_than_real_time_speaks_slowly_but_everything() -> None:
    async with scene(cost=1.25 * CHUNK) as act:
        await act.advance(1)
        pushed = speech(2.0)
        await act.push(pushed)
        act.session.inbox.end_segment()
        await act.advance(6)
        assert act.viewer.sound().size == padded(pushed).size
        assert len(act.workers.requests) < 7 / CHUNK


async def test_a_busy_loop_catches_up_a_little_and_slips_when_it_was_long() -> None:
    async with scene(cost=0.01) as act:
        await act.push(speech(5.0))
        await act.advance(1)
        before = len(act.viewer.frames)
        await act.clock.jump(FRAME * 1.5)
        assert len(act.viewer.frames) - before in (1, 2)
        late = act.session.snapshot()["late_units"]
        await act.clock.jump(1.0)
        await act.advance(0.2)
        assert act.session.snapshot()["late_units"] > late
        assert gaps(act.viewer.times)[-3:] == pytest.approx([FRAME] * 3)


async def test_pushing_faster_than_real_time_waits_at_the_buffer_limit() -> None:
    async with scene() as act:
        await act.advance(0.5)
        pushing = asyncio.create_task(act.push(speech(45.0)))
        await act.advance(0.5)
        assert not pushing.done()
        assert act.session.snapshot()["buffered_ms"] <= 1000 * (MAX_BUFFER_S + 1.5)
        await act.advance(16)
        assert pushing.done()
        act.session.inbox.end_segment()
        await act.advance(32)
        assert act.viewer.sound().size == 45 * 48_000


async def test_an_interrupt_frees_who_waits_at_the_limit_and_drops_the_rest() -> None:
    async with scene() as act:
        pushing = asyncio.create_task(act.push(speech(45.0)))
        await act.advance(1)
        assert not pushing.done()
        act.session.interrupt()
        await act.advance(0.1)
        assert pushing.done()
        await act.advance(1)
        assert act.session.state.value == "idle"
        await in_background(pushing)


async def test_first_frame_delay_is_measured() -> None:
    async with scene(cost=0.04) as act:
        await act.advance(1.03)
        await act.push(speech(1.0))
        await act.advance(1)
        assert 40 <= act.session.snapshot()["first_frame_ms"] <= 130


async def test_every_chunk_leaves_one_line_of_what_it_took(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG", "server.session.producer")
    async with scene(cost=0.04) as act:
        await act.push(speech(1.0))
        await act.advance(0.5)
        act.session.interrupt()
        await act.advance(0.3)
        lines = [record.getMessage() for record in caplog.records]
        fields = [dict(pair.split("=") for pair in line.split()[1:]) for line in lines]
        assert len(lines) >= 5 and all(line.startswith("chunk ") for line in lines)
        assert {one["session"] for one in fields} == {act.session.short_id}
        assert all(float(one["model_ms"]) == 40 and one["batch"] == "1" for one in fields)
        assert all(float(one["queued_ms"]) >= 0 and float(one["slack_ms"]) >= 0 for one in fields)
        assert (fields[0]["epoch"], fields[-1]["epoch"]) == ("0", "1")
        assert act.session.id not in caplog.text and act.session.token not in caplog.text
        assert act.session.snapshot()["ms_per_frame"] == 40 / SPEC.chunk_frames


async def test_requests_never_pile_up_at_the_worker() -> None:
    waiting: list[int] = []
    done = 0

    def cost(request: ChunkRequest) -> float:
        nonlocal done
        waiting.append(len(act.workers.requests) - done)
        done += 1
        return 0.3 * CHUNK

    async with scene(cost=cost) as act:
        await act.push(speech(10.0))
        await act.advance(8)
    assert max(waiting) <= 2
