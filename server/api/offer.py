"""POST and PATCH /session/{id}/offer: a WebRTC call as output, its microphone as speech."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray

from server.api.bodies import BodyRoute
from server.api.control import Control
from server.api.deps import (
    TOKEN_REQUIRED,
    Context,
    ContextDep,
    SessionDep,
    context_of,
    find_session,
    opened,
)
from server.api.openapi import problems
from server.api.schemas import Candidate, Offer, SessionAnswer
from server.errors import (
    BadRequest,
    Conflict,
    NotFound,
    OfferError,
    RateLimited,
    TooLarge,
    Unauthorised,
    UnsupportedMediaType,
)
from server.session.output import Output
from server.session.session import Session
from server.turn import ice_servers_for
from server.webrtc.peer import MEDIA_TIMEOUT_S, CloseReason, Peer

log = logging.getLogger(__name__)

CALL = "offer"  # the path of a session's one call
REFUSALS = (
    *(BadRequest, OfferError, Unauthorised, NotFound),
    *(Conflict, TooLarge, UnsupportedMediaType),
)


class OfferRoute(BodyRoute):
    """Refuses callers without the session's token before the body is read."""

    async def admit(self, request: Request) -> None:
        """Raise NotFound, Unauthorised or RateLimited."""
        posted = request.method == "POST"
        session_id = request.path_params["session_id"]
        session = find_session(request, session_id, "offer" if posted else "call")
        request.state.session = session
        if posted:
            context_of(request).access.count(session.owner)


router = APIRouter(route_class=OfferRoute, dependencies=TOKEN_REQUIRED)


@router.post(
    "/session/{session_id}/offer",
    responses=problems(*REFUSALS, RateLimited, unprocessable=["no_codec"]),
)
async def answer(
    request: Request, context: ContextDep, session: SessionDep, offer: Offer
) -> SessionAnswer:
    """Answer an offer; a session has one call, a new one replaces the old."""
    session.check_place()
    peer: Peer | None = None
    gone = asyncio.Event()

    def ended(reason: str) -> None:
        gone.set()
        call_ended(session, "the call", reason, peer)

    spans = context.telemetry.spans
    with spans.span("session.offer", session.trace.root, session=session.short_id):
        peer = await answer_call(context, session, offer.sdp, ended, hears=session.live)
    control = Control(session, peer.event)
    peer.talk(control.take, partial(session.send_hello, peer, str(peer.video)))
    try:
        await replace_call(session, peer)
        if gone.is_set():
            session.detach(peer)
    except BaseException:
        await peer.aclose()
        raise
    opened(request, session, CALL)
    return SessionAnswer(sdp=peer.answer_sdp)


@router.patch(
    "/session/{session_id}/offer",
    status_code=204,
    response_class=Response,
    responses=problems(*REFUSALS),
)
async def trickle(session: SessionDep, candidate: Candidate) -> None:
    """Take one more candidate of the current call."""
    call = session.call
    if not isinstance(call, Peer):
        raise Conflict("expected a call to add the candidate to, got none; send an offer first")
    await call.add_candidate(candidate.candidate, candidate.sdp_mid, candidate.sdp_mline_index)


async def answer_call(
    context: Context,
    session: Session,
    offer: str,
    on_closed: Callable[[str], None],
    *,
    hears: bool,
    source: bool = False,
) -> Peer:
    """Answer an offer to a session as the server is set up; see ``Peer.answer``."""
    return await Peer.answer(
        offer,
        fps=session.spec.fps,
        rates=context.rates(session.spec.size),
        source=source,
        on_microphone=partial(hear, session) if hears else None,
        on_keyframe_request=session.request_keyframe,
        on_closed=on_closed,
        ice_servers=ice_servers_for(context.settings, session.id, time.time()),
        loopback=context.settings.local,
        on_sent=context.telemetry.instruments.sent,
    )


def call_ended(session: Session, what: str, reason: str, peer: Output | None) -> None:
    """Log why a call ended by itself, and detach it; one that vanished was silent before."""
    told = {"session": session.short_id, "reason": reason}
    log.info("session %s: %s ended: %s", session.short_id, what, reason, extra=told)
    if peer is not None:
        vanished = reason == CloseReason.VANISHED.value
        session.detach(peer, silent_s=MEDIA_TIMEOUT_S if vanished else 0.0)


async def replace_call(session: Session, peer: Peer) -> None:
    """Attach a new call, then end the one it replaces."""
    session.attach(peer)
    old, session.call = session.call, peer
    if old is not None:
        session.detach(old)
        await asyncio.shield(old.aclose())


def hear(session: Session, samples: NDArray[np.int16], rate: int) -> None:
    """Pass the microphone on; sound that arrives while the session ends is nobody's."""
    try:
        session.hear(samples, rate)
    except Conflict:
        told = {"session": session.short_id}
        log.debug("session %s: late microphone sound", session.short_id, extra=told)
