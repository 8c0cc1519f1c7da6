"""POST and PATCH /session/{id}/offer: a WebRTC call as output, its microphone as speech."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Literal

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from server.api.bodies import read_json
from server.api.deps import Context, context_of, token_of
from server.errors import Conflict
from server.session.session import Session
from server.webrtc.peer import Peer

log = logging.getLogger(__name__)

router = APIRouter()

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Offer(BaseModel):
    """A browser's session description."""

    sdp: str
    type: Literal["offer"]


class Candidate(BaseModel):
    """A browser's ICE candidate; null or empty ends them."""

    candidate: str | None = None
    sdp_mid: str | None = Field(default=None, alias="sdpMid")
    sdp_mline_index: int | None = Field(default=None, alias="sdpMLineIndex")


@router.post("/session/{session_id}/offer")
async def answer(request: Request, session_id: str) -> dict[str, str]:
    """Answer an offer; a session has one call, a new one replaces the old."""
    context = context_of(request)
    session = context.sessions.find(session_id, token_of(request))
    offer = await read_json(request, Offer)
    peer: Peer | None = None
    gone = asyncio.Event()

    def ended(reason: str) -> None:
        log.info("session %s: the call ended: %s", session.short_id, reason)
        gone.set()
        if peer is not None:
            session.detach(peer)

    peer = await Peer.answer(
        offer.sdp,
        fps=session.spec.fps,
        on_microphone=partial(hear, session) if session.live else None,
        on_keyframe_request=session.request_keyframe,
        on_closed=ended,
        ice_servers=context.settings.ice_servers,
        loopback=context.settings.host in LOOPBACK,
    )
    try:
        await replace_call(context, session, peer)
        if gone.is_set():
            session.detach(peer)
    except BaseException:
        await peer.aclose()
        raise
    return {"sdp": peer.answer_sdp, "type": "answer"}


@router.patch("/session/{session_id}/offer", status_code=204)
async def trickle(request: Request, session_id: str) -> Response:
    """Take one more candidate of the current call."""
    context = context_of(request)
    session = context.sessions.find(session_id, token_of(request))
    candidate = await read_json(request, Candidate)
    call = context.calls.get(session)
    if call is None:
        raise Conflict("expected a call to add the candidate to, got none; send an offer first")
    await call.add_candidate(candidate.candidate, candidate.sdp_mid, candidate.sdp_mline_index)
    return Response(status_code=204)


async def replace_call(context: Context, session: Session, peer: Peer) -> None:
    """Attach a new call, then end the one it replaces."""
    session.attach(peer)
    old, context.calls[session] = context.calls.get(session), peer
    if old is not None:
        session.detach(old)
        await asyncio.shield(old.aclose())


def hear(session: Session, samples: NDArray[np.int16], rate: int) -> None:
    """Pass the microphone on; sound that arrives while the session ends is nobody's."""
    try:
        session.hear(samples, rate)
    except Conflict:
        log.debug("session %s: late microphone sound", session.short_id)
