"""The WebSocket side: units and events out, speech and messages in, bad input shrugged off."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from server.clock import SystemClock
from tests.support.server_in_loop import Caller, Socket, Unpacked, bearer, serving
from tests.support.sound import speech
from tests.support.workers import FakeWorkers

pytestmark = pytest.mark.unit


async def test_frames_flow_from_the_first_keyframe() -> None:
    async with serving() as caller:
        session = await caller.create()
        async with caller.stream(session) as socket:
            created = await socket.event("session.created")
            assert created["session_id"] == session["session_id"]
            assert created["video"]["codec"] == "h264"
            assert created["audio"] == {"output_sample_rate": 48_000}
            frames = [await socket.frame() for _ in range(12)]
            assert frames[0].flags & 1
            assert [frame.index for frame in frames] == list(range(12))
            assert {len(frame.audio) for frame in frames} == {3840}


async def test_speech_comes_back_with_events_around_it() -> None:
    async with serving() as caller:
        session = await caller.create()
        async with caller.stream(session) as socket:
            await socket.say(type="session.update", audio={"sample_rate": 48_000, "channels": 1})
            updated = await socket.event("session.updated")
            assert updated["audio"] == {"sample_rate": 48_000, "channels": 1}
            await socket.send(speech(0.5).tobytes())
            await socket.say(type="input_audio_buffer.commit")
            started = await socket.event("output_audio_buffer.started")
            first = await socket.frame()
            assert first.speaking and np.frombuffer(first.audio, np.int16).all()
            stopped = await socket.event("output_audio_buffer.stopped")
            assert stopped["segment_id"] == started["segment_id"]
            assert stopped["playback_position_ms"] == 500
            assert (await socket.event("avatar.state_updated"))["state"] == "idle"
            numbers = await socket.event("metrics.updated")
            assert 0 < numbers["first_frame_ms"] < 5000


@pytest.mark.parametrize("text", [False, True])
async def test_messages_of_odd_sizes_are_heard_whole(text: bool) -> None:
    async with serving() as caller:
        session = await caller.create()
        async with caller.stream(session) as socket:
            await socket.say(type="session.update", audio={"sample_rate": 48_000})
            pcm = speech(0.4).tobytes()
            for start in range(0, len(pcm), 4063):
                piece = pcm[start : start + 4063]
                if text:
                    audio = base64.b64encode(piece).decode()
                    await socket.say(type="input_audio_buffer.append", audio=audio)
                else:
                    await socket.send(piece)
            await socket.say(type="input_audio_buffer.commit")
            sound = b"".join([(await socket.frame(speaking=True)).audio for _ in range(10)])
            difference = np.frombuffer(sound, np.int16).astype(int) - np.frombuffer(pcm, np.int16)
            assert np.abs(difference).max() <= 1
            assert (await quiet_until(socket, "output_audio_buffer.stopped")) == []


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("not JSON", "bad_json"),
        ("[1, 2]", "bad_json"),
        ("[" * 50_000, "bad_json"),
        ('{"type": "dance"}', "unknown_type"),
        ('{"kind": "ping"}', "unknown_type"),
        ('{"type": 7}', "unknown_type"),
        ('{"type": "session.update"}', "bad_request"),
        ('{"type": "session.update", "audio": {"sample_rate": 4000}}', "bad_request"),
        ('{"type": "session.update", "audio": {"sample_rate": 500000}}', "bad_request"),
        ('{"type": "session.update", "audio": {"sample_rate": "16000"}}', "bad_request"),
        ('{"type": "session.update", "audio": {"sample_rate": true}}', "bad_request"),
        ('{"type": "session.update", "audio": {"sample_rate": 1e999}}', "bad_request"),
        (
            '{"type": "session.update", "audio": {"sample_rate": 16000, "channels": 3}}',
            "bad_request",
        ),
        ('{"type": "input_audio_buffer.append"}', "bad_request"),
        ('{"type": "input_audio_buffer.append", "audio": "+"}', "bad_request"),
        ('{"type": "input_audio_buffer.append", "audio": "AA*&AB"}', "bad_request"),
        ('{"type": "input_audio_buffer.append", "audio": 7}', "bad_request"),
        ("\ud7ff\u0000", "bad_json"),
    ],
)
async def test_bad_input_costs_an_error_event_and_nothing_else(message: str, code: str) -> None:
    async with serving() as caller:
        session, neighbour = await caller.create(), await caller.create("bob")
        async with caller.stream(session) as socket, caller.stream(neighbour) as other:
            await socket.send(message)
            error = (await socket.event("error"))["error"]
            assert error["code"] == code and error["message"].startswith("expected")
            await socket.say(type="ping")
            await socket.event("pong")
            await socket.frame()
            await other.say(type="ping")
            assert (await quiet_until(other, "pong")) == []


async def quiet_until(socket: Socket, kind: str) -> list[dict[str, Any]]:
    """Errors that come before an event."""
    errors = []
    while True:
        item = await socket.next()
        if isinstance(item, dict) and item["type"] == "error":
            errors.append(item)
        if isinstance(item, dict) and item["type"] == kind:
            return errors


async def test_response_cancel_clears_and_raises_the_epoch() -> None:
    async with serving() as caller:
        session = await caller.create()
        async with caller.stream(session) as socket:
            await socket.send(speech(5.0, 16_000).tobytes())
            await socket.frame(speaking=True)
            await socket.say(type="response.cancel")
            cleared = await socket.event("output_audio_buffer.cleared")
            assert 40 <= cleared["playback_position_ms"] < 2000
            frame = await socket.frame()
            assert frame.epoch == 1 and not frame.speaking and frame.flags & 1


async def test_input_clear_drops_what_waits() -> None:
    async with serving() as caller:
        session = await caller.create()
        async with caller.stream(session) as socket:
            await socket.send(speech(20.0, 16_000).tobytes())
            await socket.frame(speaking=True)
            await socket.say(type="input_audio_buffer.clear")
            stopped = await socket.event("output_audio_buffer.stopped")
            assert stopped["playback_position_ms"] < 5000


async def test_jpeg_and_no_pictures() -> None:
    async with serving() as caller:
        session = await caller.create()
        async with (
            caller.stream(session, video="none") as listener,
            caller.stream(session, video="jpeg") as jpeg_viewer,
        ):
            frame = await jpeg_viewer.frame()
            assert frame.flags & 4 and frame.flags & 1 and frame.video.startswith(b"jpeg")
            await listener.send(speech(0.3, 16_000).tobytes())
            await listener.say(type="input_audio_buffer.commit")
            await listener.event("output_audio_buffer.started")
            await jpeg_viewer.event("output_audio_buffer.stopped")
            items = [await listener.next() for _ in range(3)]
            assert all(isinstance(item, dict) for item in items)


@pytest.mark.parametrize(
    ("change", "code", "closure"),
    [
        ({"token": "wrong"}, "unauthorised", 4401),
        ({"token": ""}, "unauthorised", 4401),
        ({"video": "hologram"}, "bad_request", 4400),
    ],
)
async def test_sockets_that_are_refused(change: dict[str, str], code: str, closure: int) -> None:
    async with serving() as caller:
        session = await caller.create()
        async with caller.stream(session, **change) as socket:
            assert (await socket.event("error"))["error"]["code"] == code
            with pytest.raises(ConnectionClosed) as closed:
                await socket.next()
            assert closed.value.rcvd is not None and closed.value.rcvd.code == closure


async def test_a_socket_of_an_unknown_session_is_refused() -> None:
    async with serving() as caller:
        session = await caller.create()
        await caller.delete(session)
        async with caller.stream(session) as socket:
            assert (await socket.event("error"))["error"]["code"] == "not_found"


async def test_deleting_a_session_tells_its_sockets_why() -> None:
    async with serving() as caller:
        session = await caller.create()
        async with caller.stream(session) as socket:
            await socket.frame()
            assert await caller.delete(session) == 204
            assert (await socket.event("session.closed"))["reason"] == "deleted"
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await socket.next()
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1000


async def test_a_server_that_stops_tells_its_sockets() -> None:
    async with serving() as caller:
        session = await caller.create()
        async with caller.stream(session) as socket:
            await socket.frame()
            caller.server.should_exit = True
            assert (await socket.event("session.closed"))["reason"] == "shutdown"


async def test_a_session_survives_its_socket_and_takes_another() -> None:
    async with serving() as caller:
        session = await caller.create()
        async with caller.stream(session) as socket:
            last = await socket.frame()
        await asyncio.sleep(0.05)
        async with caller.stream(session) as socket:
            frame = await socket.frame()
            assert frame.flags & 1 and frame.index > last.index


async def test_two_sessions_never_mix() -> None:
    async with serving(FakeWorkers(SystemClock(), 0.01)) as caller:
        sessions = [await caller.create(), await caller.create("bob")]
        async with caller.stream(sessions[0]) as first, caller.stream(sessions[1]) as second:
            tones = [speech(1.0, seed=k).tobytes() for k in (1, 2)]
            for socket, tone in zip((first, second), tones, strict=True):
                await socket.say(type="session.update", audio={"sample_rate": 48_000})
                await socket.send(tone)
                await socket.say(type="input_audio_buffer.commit")

            async def collect(socket: Socket) -> list[Unpacked]:
                frames: list[Unpacked] = []
                while len(frames) < 40:
                    frames.append(await socket.frame())
                return frames

            got = await asyncio.gather(collect(first), collect(second))
            for session, frames, tone in zip(sessions, got, tones, strict=True):
                identity_id = session["session_id"].encode()
                assert all(frame.video.startswith(identity_id + b" ") for frame in frames)
                sound = b"".join(frame.audio for frame in frames if frame.speaking)
                wanted = np.frombuffer(tone, np.int16).astype(np.int32)
                difference = np.frombuffer(sound, np.int16)[: wanted.size] - wanted
                assert np.abs(difference).max() <= 1


async def read_to_here(caller: Caller, session: dict[str, Any], socket: Socket) -> int:
    """Milliseconds that are queued when all that was sent has been read."""
    await socket.say(type="ping")
    await socket.event("pong")
    answer = await caller.http.get(f"/session/{session['session_id']}", headers=bearer(session))
    buffered: int = answer.json()["metrics"]["buffered_ms"]
    return buffered


async def test_pushing_beyond_the_buffer_stops_neither_the_reading_nor_the_session() -> None:
    async with serving() as caller:
        session = await caller.create()
        async with caller.stream(session) as socket:
            await socket.frame()
            second = speech(1.0, 16_000).tobytes()
            for _ in range(40):
                await socket.send(second)
            await socket.say(type="ping")
            await socket.event("pong")
            numbers = await socket.event("metrics.updated")
            numbers = await socket.event("metrics.updated")
            assert 25_000 <= numbers["buffered_ms"] <= 31_500


@pytest.mark.parametrize("by", ["response.cancel", "POST"])
async def test_an_interrupt_takes_back_what_was_pushed_beyond_the_buffer(by: str) -> None:
    async with serving() as caller:
        session = await caller.create()
        async with caller.stream(session) as socket:
            second = speech(1.0, 16_000).tobytes()
            for _ in range(60):
                await socket.send(second)
            await read_to_here(caller, session, socket)
            await socket.frame(speaking=True)
            if by == "POST":
                path = f"/session/{session['session_id']}/interrupt"
                await caller.http.post(path, headers=bearer(session))
            else:
                await socket.say(type=by)
            await socket.event("output_audio_buffer.cleared")
            assert await read_to_here(caller, session, socket) < 1000
            await socket.send(second)
            await socket.say(type="input_audio_buffer.commit")
            frame = await socket.frame(speaking=True)
            assert frame.epoch == 1
            stopped = await socket.event("output_audio_buffer.stopped")
            assert stopped["playback_position_ms"] == 1000


async def test_a_socket_that_pushes_nothing_is_read_while_another_must_wait() -> None:
    async with serving() as caller:
        session = await caller.create()
        path = f"/session/{session['session_id']}"
        sessions = caller.app.state.context.sessions
        inbox = sessions.find(session["session_id"], session["token"]).inbox
        async with caller.stream(session) as speaker, caller.stream(session, video="none") as other:
            minute = speech(60.0, 16_000).tobytes()
            for _ in range(8):
                await speaker.send(minute)
            with pytest.raises(TimeoutError):  # the inbox is full
                while True:
                    await asyncio.wait_for(inbox.wait_for_room(), 0.2)
                    await asyncio.sleep(0.01)
            await other.say(type="ping")
            await other.event("pong")
            await other.say(type="response.cancel")
            await other.event("output_audio_buffer.cleared")
            answer = await caller.http.get(path, headers=bearer(session))
            assert answer.json()["generation"] == 1


async def test_a_caller_who_leaves_at_once_is_still_spoken_for() -> None:
    async with serving() as caller:
        session = await caller.create()
        async with caller.stream(session) as viewer:
            await viewer.frame()
            async with caller.stream(session, video="none") as speaker:
                await speaker.send(speech(1.0, 16_000).tobytes())
                await speaker.say(type="input_audio_buffer.commit")
            stopped = await viewer.event("output_audio_buffer.stopped")
            assert stopped["playback_position_ms"] == 1000


async def test_a_lost_worker_ends_the_session_and_says_so() -> None:
    workers = FakeWorkers(SystemClock())
    async with serving(workers) as caller:
        session, neighbour = await caller.create(), await caller.create("bob")
        async with caller.stream(session) as socket, caller.stream(neighbour) as other:
            await socket.frame()
            workers.lose(session["session_id"])
            assert (await socket.event("error"))["error"]["code"] == "worker_lost"
            assert (await socket.event("session.closed"))["reason"] == "worker_lost"
            await other.frame()
        assert await caller.delete(session) == 204


async def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "server")
    async with serving() as caller:
        session = await caller.create()
        async with caller.stream(session) as socket:
            await socket.send(json.dumps({"type": "dance", "words": "private words"}))
            await socket.event("error")
        await caller.delete(session)
    assert session["session_id"] not in caplog.text
    assert session["token"] not in caplog.text
    assert "private words" not in caplog.text
    assert session["session_id"][5:11] in caplog.text


async def test_an_error_names_the_message_that_cost_it() -> None:
    async with serving() as caller, caller.stream(await caller.create()) as socket:
        await socket.say(type="dance", event_id="event_7")
        error = (await socket.event("error"))["error"]
        assert (error["code"], error["event_id"]) == ("unknown_type", "event_7")
        assert error["type"] == "invalid_request_error"
        await socket.say(type="session.update", audio={"sample_rate": 1}, event_id="event_8")
        assert (await socket.event("error"))["error"]["event_id"] == "event_8"
        await socket.say(type="dance", event_id=["no", "text"])
        assert "event_id" not in (await socket.event("error"))["error"]


async def test_a_client_of_another_protocol_speaks_and_clears_in_its_own_words() -> None:
    async with serving() as caller, caller.stream(await caller.create()) as socket:
        await socket.say(type="session.update", audio={"sample_rate": 24_000})
        pcm = base64.b64encode(speech(5.0, rate=24_000).tobytes()).decode()
        for start in range(0, len(pcm), 4000):
            part = pcm[start : start + 4000]
            await socket.say(type="input_audio_buffer.append", audio=part, event_id="e")
        await socket.say(type="input_audio_buffer.commit")
        started = await socket.event("output_audio_buffer.started")
        await socket.say(type="output_audio_buffer.clear")
        cleared = await socket.event("output_audio_buffer.cleared")
        assert cleared["segment_id"] == started["segment_id"]
        assert cleared["playback_position_ms"] < 4000
