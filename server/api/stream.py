"""WS /session/{id}/stream: speech in; frames and events out."""

from __future__ import annotations

import asyncio
import logging
from typing import get_args

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from models.errors import LiveheadError
from server.api.control import Control
from server.api.deps import context_of, token_of
from server.errors import BadRequest, Conflict, Unauthorised
from server.outputs.thin_buffers import room_of
from server.outputs.websocket import WebSocketOutput
from server.session import events
from server.session.output import Video
from server.session.session import Session

log = logging.getLogger(__name__)

router = APIRouter()

UNAUTHORISED = 4401
NOT_FOUND = 4404
BAD_REQUEST = 4400


@router.websocket("/session/{session_id}/stream")
async def stream(socket: WebSocket, session_id: str) -> None:
    """Serve one socket until either side leaves; the session outlives it."""
    await socket.accept()
    try:
        session = context_of(socket).sessions.find(session_id, token_of(socket), "stream")
        video = _video_of(socket)
        output = WebSocketOutput(
            socket,
            video,
            session.request_keyframe,
            room_of(socket),
            context_of(socket).telemetry.instruments.sent,
        )
        session.send_hello(output, video)
        session.attach(output)
    except LiveheadError as error:
        await _refuse(socket, error)
        return
    output.start()
    receiver = asyncio.create_task(_receive(socket, session, output), name="websocket-receiver")
    watch = asyncio.create_task(output.wait_closed(), name="websocket-watch")
    try:
        await asyncio.wait({receiver, watch}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        session.detach(output)
        receiver.cancel()
        await output.aclose()
        await asyncio.gather(receiver, watch, return_exceptions=True)


async def _receive(socket: WebSocket, session: Session, output: WebSocketOutput) -> None:
    """Take messages until the socket ends, then wait until its speech is handed on."""
    control = Control(session, output.event)
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            await session.inbox.join()
            return
        try:
            sound = message.get("bytes")
            await control.take(message["text"] if sound is None else sound)
        except Conflict:
            return


def _video_of(socket: WebSocket) -> Video:
    wanted = socket.query_params.get("video", "h264")
    for video in get_args(Video):
        if wanted == video:
            return video  # type: ignore[no-any-return]
    raise BadRequest(f"expected video=h264, jpeg or none, got {wanted[:20]!r}; change the query")


async def _refuse(socket: WebSocket, error: LiveheadError) -> None:
    """Say why in an event, then close: browsers hide what a refused handshake says."""
    code = NOT_FOUND
    if isinstance(error, Unauthorised):
        code = UNAUTHORISED
    elif isinstance(error, BadRequest):
        code = BAD_REQUEST
    try:
        await socket.send_json(events.error(error.code, str(error)))
        if socket.application_state is WebSocketState.CONNECTED:
            await socket.close(code)
    except (WebSocketDisconnect, RuntimeError, OSError):
        log.debug("a refused caller left first")
