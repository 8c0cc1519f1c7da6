"""A WebRTC call through the API: candidates follow the offer, and nothing outlives the session."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any

import httpx
import pytest

from tests.support.calls import Client, until
from tests.support.server_in_loop import Caller, bearer, serving
from tests.support.sound import speech

pytestmark = pytest.mark.unit


async def offer(caller: Caller, session: dict[str, Any]) -> httpx.Response:
    """Offer a call that never connects."""
    client = Client()
    body = {"sdp": await client.offer(), "type": "offer"}
    path = f"/session/{session['session_id']}/offer"
    try:
        return await caller.http.post(path, json=body, headers=bearer(session))
    finally:
        await client.close()


async def test_candidates_belong_to_the_last_call() -> None:
    async with serving() as caller:
        session = await caller.create()
        path = f"/session/{session['session_id']}/offer"
        end = {"candidate": "", "sdpMid": "0"}
        assert (await caller.http.patch(path, json=end, headers=bearer(session))).status_code == 409
        assert (await offer(caller, session)).status_code == 200
        assert (await caller.http.patch(path, json=end, headers=bearer(session))).status_code == 204


async def test_a_session_that_had_a_call_is_released_when_it_has_ended() -> None:
    async with serving() as caller:
        described = await caller.create()
        sessions = caller.app.state.context.sessions
        session = weakref.ref(sessions.find(described["session_id"], described["token"]))
        assert (await offer(caller, described)).status_code == 200
        assert await caller.delete(described) == 204

        def released() -> bool:
            gc.collect()
            return session() is None

        await until(released)


async def test_a_data_channel_carries_events_and_messages() -> None:
    async with serving() as caller:
        session = await caller.create()
        client, told = Client(), []
        channel = client.connection.createDataChannel("events")
        channel.on("message", lambda text: told.append(json.loads(text)))
        body = {"sdp": await client.offer(), "type": "offer"}
        path = f"/session/{session['session_id']}/offer"
        answer = await caller.http.post(path, json=body, headers=bearer(session))
        assert answer.status_code == 200, answer.text
        await client.accept(answer.json()["sdp"])
        await until(lambda: bool(told))
        assert told[0]["type"] == "session.created"
        channel.send(json.dumps({"type": "dance", "event_id": "event_1"}))
        channel.send(speech(0.4, rate=16_000).tobytes())
        channel.send(json.dumps({"type": "input_audio_buffer.commit"}))

        def kinds() -> list[str]:
            return [event["type"] for event in told]

        await until(lambda: "output_audio_buffer.stopped" in kinds())
        errors = [event["error"] for event in told if event["type"] == "error"]
        assert [error["event_id"] for error in errors] == ["event_1"]
        assert kinds().count("output_audio_buffer.started") == 1
        await caller.delete(session)
        await client.close()
