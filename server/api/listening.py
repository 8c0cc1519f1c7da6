"""GET /session/{id}/events: a session's events for who cannot, or need not, hold a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.sse import EventSourceResponse, ServerSentEvent

from server.api.deps import TOKEN_REQUIRED, ListenedDep
from server.api.openapi import problems
from server.errors import Conflict, NotFound, Unauthorised
from server.outputs.event_stream import EventStream

router = APIRouter(dependencies=TOKEN_REQUIRED)


async def _attached(session: ListenedDep) -> AsyncIterator[EventStream]:
    """Attached from before the answer begins until it has ended."""
    output = EventStream()
    session.send_hello(output, "none")
    session.attach(output)
    try:
        yield output
    finally:
        session.detach(output)


@router.get(
    "/session/{session_id}/events",
    response_class=EventSourceResponse,
    responses=problems(Unauthorised, NotFound, Conflict),
)
async def listen(
    output: Annotated[EventStream, Depends(_attached)],
) -> AsyncIterator[ServerSentEvent]:
    """The session's events (/asyncapi.json) as server-sent events, from session.created on.

    Who only listens keeps a place in the queue, but not a session that nobody else is attached to.
    """
    number = 0
    async for event in output.read():
        number += 1
        yield ServerSentEvent(data=event, event=event["type"], id=str(number))
