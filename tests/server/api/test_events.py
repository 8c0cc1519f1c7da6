"""The one list of events: described, and the same on a socket and as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from server.api.asyncapi import description, example
from server.api.messages import Message, read_message
from server.outputs.event_stream import MAX_EVENTS, EventStream
from server.session.events import EVENTS, pong
from tests.support.server_in_loop import Caller, bearer, serving

pytestmark = pytest.mark.unit


def references(value: Any) -> list[str]:
    """Every $ref below a value."""
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for item in value.values() for found in references(item)]
    if isinstance(value, list):
        return [found for item in value for found in references(item)]
    return []


async def test_the_description_is_whole() -> None:
    async with serving() as caller:
        described = (await caller.http.get("/asyncapi.json")).json()
    assert described == description() and described["asyncapi"] == "3.0.0"
    found = references(described)
    assert len(found) > 30
    for reference in found:
        at: Any = described
        for part in reference.removeprefix("#/").split("/"):
            at = at[part]


@pytest.mark.parametrize("model", EVENTS, ids=lambda model: model.__name__)
def test_the_example_of_an_event_is_one(model: type[BaseModel]) -> None:
    assert model.model_validate(example(model)).model_dump(exclude_none=True)


@pytest.mark.parametrize("model", get_args(Message), ids=lambda model: model.__name__)
def test_the_example_of_a_message_is_understood(model: type[BaseModel]) -> None:
    kinds = get_args(model.model_fields["type"].annotation)
    for kind in kinds:
        told = description()["components"]["messages"][kind]["examples"][0]["payload"]
        assert type(read_message(json.dumps(told))) is model


@asynccontextmanager
async def listening(caller: Caller, session: dict[str, Any]) -> AsyncIterator[AsyncIterator[str]]:
    """The lines of a session's events over HTTP."""
    url = session["media"]["events_url"]
    async with caller.http.stream("GET", url, headers=bearer(session)) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        yield lines


async def read(lines: AsyncIterator[str], until: str) -> list[dict[str, Any]]:
    """The events up to the first of a type."""
    events, name = [], ""
    async for line in lines:
        if line.startswith("event:"):
            name = line.removeprefix("event:").strip()
        if line.startswith("data:"):
            events.append(json.loads(line.removeprefix("data:")))
            assert events[-1]["type"] == name
            if name == until:
                return events
    raise AssertionError(f"no {until} in {events}")


async def test_who_listens_hears_what_the_socket_hears() -> None:
    async with serving() as caller:
        session = await caller.create()
        async with listening(caller, session) as lines, caller.stream(session) as socket:
            by_socket = await socket.speak()
            heard = await read(lines, "output_audio_buffer.stopped")
            assert heard[0]["type"] == "session.created" and heard[-1] == by_socket
            kinds = [event["type"] for event in heard]
            assert kinds.count("output_audio_buffer.started") == 1
            await caller.delete(session)
            assert (await read(lines, "session.closed"))[-1]["reason"] == "deleted"
            assert [line async for line in lines if line.startswith("data")] == []


async def test_listening_keeps_a_place_in_the_queue_but_no_session() -> None:
    async with serving(max_sessions=1, queue=1, idle_timeout_s=1.5, resume_s=0.5) as caller:
        first = await caller.create()
        waiting = (await caller.http.post("/session", json={"avatar_id": "ada"})).json()
        async with caller.stream(first), listening(caller, waiting) as lines:
            await asyncio.sleep(3)
            status = await caller.http.get(
                f"/session/{waiting['session_id']}", headers=bearer(waiting)
            )
            assert status.json()["queue_position"] == 1
            await caller.delete(first)
            heard = await read(lines, "session.closed")
            assert "session.ready" in [event["type"] for event in heard]
            assert heard[-1]["reason"] == "idle_timeout"


async def test_a_listener_who_goes_is_forgotten() -> None:
    async with serving() as caller:
        session = await caller.create()
        live = caller.app.state.context.sessions.find(session["session_id"], session["token"])
        async with listening(caller, session) as lines:
            await read(lines, "session.created")
            assert len(live._audience) == 1
        for _ in range(100):
            if not len(live._audience):
                return
            await asyncio.sleep(0.05)
        raise AssertionError("still there")


async def test_a_listener_who_does_not_read_is_let_go() -> None:
    output = EventStream()
    for _ in range(MAX_EVENTS + 10):
        output.event(pong())
    got = [item async for item in output.read()]
    assert len(got) == MAX_EVENTS
