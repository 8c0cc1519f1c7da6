"""A call end to end: microphone in, echo out, through the offer route and a real worker process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from models.options import ModelOptions
from server.assets import draw_portrait
from server.worker.messages import WorkerConfig
from server.worker.pool import LocalWorkers
from tests.support.calls import Client, ToneTrack, until
from tests.support.server_in_loop import Caller, Socket, bearer, serving

pytestmark = pytest.mark.e2e

PATIENCE_S = 60.0


async def test_a_call_echoes_its_microphone_and_a_new_offer_replaces_it() -> None:
    workers = LocalWorkers(
        WorkerConfig(ModelOptions("fake", size=(256, 256)), warm_portrait=draw_portrait())
    )
    async with serving(workers) as caller:
        await asyncio.wait_for(caller.workers.wait_ready(), PATIENCE_S)
        session = await caller.create(mode="echo")
        first, second = Client(ToneTrack()), Client(ToneTrack())
        async with caller.stream(session, video="none") as socket:
            listening = asyncio.create_task(closing_reason(socket))
            await call(caller, session, first)
            await enough(first)
            await call(caller, session, second)
            await enough(second)
            await caller.delete(session)
            assert await listening == ["started", "deleted"]
        for client in (first, second):
            assert client.counters and client.loud
            await client.close()


async def closing_reason(socket: Socket) -> list[str]:
    """Read everything; whether speech began, and why the session closed."""
    await socket.event("output_audio_buffer.started")
    return ["started", (await socket.event("session.closed"))["reason"]]


async def call(caller: Caller, session: dict[str, Any], client: Client) -> None:
    """Offer and take the answer; a late candidate is welcome."""
    path = session["media"]["offer_url"]
    offer = {"sdp": await client.offer(), "type": "offer"}
    answer = await caller.http.post(path, json=offer, headers=bearer(session))
    assert answer.status_code == 200, answer.text
    assert answer.json()["type"] == "answer"
    await client.accept(answer.json()["sdp"])
    candidate = {"candidate": "", "sdpMid": "0", "sdpMLineIndex": 0}
    patched = await caller.http.patch(path, json=candidate, headers=bearer(session))
    assert patched.status_code == 204


async def enough(client: Client) -> None:
    """Wait for a second of picture and for some of its own tone."""

    def holds() -> bool:
        return len(client.counters) >= 25 and len(client.loud) >= 10

    try:
        await until(holds, PATIENCE_S)
    except TimeoutError:
        state = client.connection.connectionState
        frames, loud = len(client.counters), len(client.loud)
        pytest.fail(f"{frames} frames, {loud} loud packets, call {state}")
