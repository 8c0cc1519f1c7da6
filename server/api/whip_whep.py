"""WHIP and WHEP below /session/{id}: a caller's sound in, any number of viewers out.

RFC 9725 and draft-ietf-wish-whep. The two differ in who sends. Behind each resource is a ``Peer``
in the session's ``guests``, under the end of its URL, which is not to be guessed.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from fastapi import APIRouter, Request, Response

from server.api.deps import CalledDep, Context, ContextDep, SessionDep, opened
from server.api.offer import OfferRoute, answer_call, call_ended
from server.errors import (
    BadRequest,
    Conflict,
    NoCapacity,
    NotFound,
    OfferError,
    PreconditionFailed,
    PreconditionRequired,
)
from server.session.session import Session
from server.turn import ice_servers_for
from server.webrtc.peer import Peer
from server.webrtc.sections import cut

log = logging.getLogger(__name__)

Kind = Literal["whip", "whep"]
SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
RETRY_AFTER_S = 10  # by then a publisher that vanished is noticed


class SdpRoute(OfferRoute):
    """Takes an offer as it is."""

    media_type = accepts = SDP
    advice = "send pc.localDescription.sdp"


class FragmentRoute(OfferRoute):
    """Takes candidates."""

    media_type = accepts = FRAGMENT
    advice = "send candidates as RFC 8840 writes them"


def routes(kind: Kind) -> APIRouter:
    """The routes of one of the two."""
    router = APIRouter(include_in_schema=False, default_response_class=Response)
    endpoint = f"/session/{{session_id}}/{kind}"
    resource = f"{endpoint}/{{name}}"

    async def start(request: Request, context: ContextDep, session: SessionDep) -> Response:
        offer = _text(await request.body())
        name, peer = await _open(kind, context, session, offer)
        opened(request, session, f"{kind}/{name}")
        headers = {"Location": f"{kind}/{name}", "ETag": _tag(name), "Cache-Control": "no-store"}
        response = Response(peer.answer_sdp, 201, headers, media_type=SDP)
        for link in _links(ice_servers_for(context.settings, session.id, time.time())):
            response.headers.append("Link", link)
        return response

    async def describe(session: SessionDep) -> Response:
        return Response(media_type=SDP)

    async def trickle(request: Request, session: SessionDep, name: str) -> Response:
        peer = _guest(session, kind, name)
        _check_tag(kind, name, request.headers.get("if-match"))
        await _add_candidates(peer, _text(await request.body()))
        return Response(status_code=204)

    async def show(session: SessionDep, name: str) -> Response:
        _guest(session, kind, name)
        return Response(status_code=204)

    async def stop(session: CalledDep, name: str) -> Response:
        peer = _guest(session, kind, name)
        session.guests.pop(f"{kind}/{name}")
        session.detach(peer)
        await asyncio.shield(peer.aclose())
        return Response()

    async def takes_offers(session_id: str) -> Response:
        return Response(headers={"Accept-Post": SDP, "Allow": "POST, GET, HEAD, OPTIONS"})

    async def takes_candidates(session_id: str, name: str) -> Response:
        return Response(
            headers={"Accept-Patch": FRAGMENT, "Allow": "PATCH, DELETE, GET, HEAD, OPTIONS"}
        )

    router.add_api_route(endpoint, start, methods=["POST"], route_class_override=SdpRoute)
    router.add_api_route(endpoint, describe, methods=["GET"])
    router.add_api_route(endpoint, takes_offers, methods=["OPTIONS"])
    router.add_api_route(resource, trickle, methods=["PATCH"], route_class_override=FragmentRoute)
    router.add_api_route(resource, show, methods=["GET"])
    router.add_api_route(resource, stop, methods=["DELETE"])
    router.add_api_route(resource, takes_candidates, methods=["OPTIONS"])
    return router


async def _open(kind: Kind, context: Context, session: Session, offer: str) -> tuple[str, Peer]:
    """Answer an offer; the resource's name and its peer."""
    session.check_place()
    _check_room(kind, context, session)
    name = secrets.token_urlsafe(18)
    path = f"{kind}/{name}"
    session.guests[path] = None  # taken, so that those who come together cannot exceed the limit
    gone = asyncio.Event()

    def ended(reason: str) -> None:
        gone.set()
        call_ended(session, kind, reason, session.guests.pop(path, None))

    peer: Peer | None = None
    try:
        publishes = kind == "whip"
        peer = await answer_call(context, session, offer, ended, hears=publishes, source=publishes)
        if not gone.is_set():
            session.attach(peer)
            session.guests[path] = peer
    except BaseException:
        session.guests.pop(path, None)
        if peer is not None:
            await peer.aclose()
        raise
    return name, peer


def _check_room(kind: Kind, context: Context, session: Session) -> None:
    """Refuse a second publisher, a session that does not listen, and too many viewers."""
    of_kind = sum(path.startswith(f"{kind}/") for path in session.guests)
    if kind == "whep":
        if of_kind >= context.settings.max_viewers:
            raise NoCapacity(
                f"expected at most {context.settings.max_viewers} viewers of a session, got one"
                " more; try again later",
                retry_after_s=RETRY_AFTER_S,
            )
        return
    if not session.live:
        raise Conflict("expected a session of mode echo, got speak; create one with mode echo")
    call = session.call
    if of_kind or (isinstance(call, Peer) and call in session.outputs and call.microphone):
        raise Conflict(
            "expected a session that hears nobody, got one with a publisher; end that one first",
            retry_after_s=RETRY_AFTER_S,
        )


async def _add_candidates(peer: Peer, fragment: str) -> None:
    """Take the candidates of a fragment; one that cannot be used is dropped, as the RFC says."""
    session, media = cut(fragment)
    parts = [session, *media]
    asked = {part.value("a=ice-ufrag:") for part in parts} - {None}
    if asked - {peer.remote_ufrag}:
        raise OfferError(
            "expected candidates of the call that stands, got a restart of ICE; make a new call",
            code="no_ice_restart",
        )
    candidates = [line for part in parts for line in part.all("a=candidate:")]
    ends = any(part.all("a=end-of-candidates") for part in parts)
    if not asked and not candidates and not ends:
        raise BadRequest("expected a fragment of SDP with candidates, got none; send a=candidate")
    for line in candidates:
        try:
            await peer.add_candidate(line, None, 0)
        except OfferError as error:
            log.debug("a candidate was dropped: %s", error)


def _guest(session: Session, kind: Kind, name: str) -> Peer:
    """The peer of a resource."""
    peer = session.guests.get(f"{kind}/{name}")
    if not isinstance(peer, Peer):
        raise NotFound(f"expected an open {kind} resource, got an unknown one; POST an offer")
    return peer


def _tag(name: str) -> str:
    """The resource's ETag: it lasts as long as the call, since ICE is never restarted."""
    return f'"{hashlib.sha256(name.encode()).hexdigest()[:16]}"'


def _check_tag(kind: Kind, name: str, given: str | None) -> None:
    """WHIP's clients must name the tag; widespread ones of WHEP do not know it."""
    if given is None:
        if kind == "whip":
            raise PreconditionRequired("expected If-Match with the ETag of the answer, got none")
    elif given.strip() not in (_tag(name), "*"):
        raise PreconditionFailed("expected the ETag of the answer in If-Match, got another")


def _links(servers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """STUN and TURN servers as Link headers."""
    for server in servers:
        urls = server["urls"] if isinstance(server["urls"], list) else [server["urls"]]
        for url in urls:
            yield f'<{url}>; rel="ice-server"{"".join(_credentials(server))}'


def _credentials(server: Mapping[str, Any]) -> Iterator[str]:
    for name in ("username", "credential"):
        if server.get(name):
            yield f'; {name}="{server[name]}"'
    if server.get("credential"):
        yield '; credential-type="password"'


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise BadRequest("expected text in UTF-8, got other bytes; send SDP") from error
