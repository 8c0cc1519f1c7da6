"""WHIP and WHEP by their specifications: every verb, its answers, and the media behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from server.webrtc.aiortc_patches import end_consent, own_connecting
from server.webrtc.peer import MEDIA_TIMEOUT_S, CloseReason
from tests.support.calls import Client, ToneTrack, until
from tests.support.server_in_loop import Caller, bearer, serving

pytestmark = pytest.mark.unit

SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
TURN = "turn:127.0.0.1:9?transport=udp"
ICE_SERVERS = [
    {"urls": ["stun:127.0.0.1:9"]},
    {"urls": TURN, "username": "ann", "credential": "secret"},
]


def url(session: dict[str, Any], kind: str) -> str:
    """Where the session takes WHIP or WHEP."""
    path: str = session["media"][f"{kind}_url"]
    return path


def resource(session: dict[str, Any], kind: str, answer: httpx.Response) -> str:
    """The URL of what an answer created."""
    return str(httpx.URL(url(session, kind)).join(answer.headers["location"]))


async def view(caller: Caller, session: dict[str, Any], client: Client) -> httpx.Response:
    """Ask for pictures by WHEP."""
    headers = {**bearer(session), **SDP}
    offer = await client.offer()
    return await caller.http.post(url(session, "whep"), content=offer, headers=headers)


class Publisher:
    """Sends a tone by WHIP."""

    def __init__(self) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connecting = own_connecting(self.connection)
        self.connection.addTransceiver(ToneTrack(), "sendonly")

    async def publish(self, caller: Caller, session: dict[str, Any]) -> httpx.Response:
        """Offer the tone, and take the answer where there is one."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        answer = await caller.http.post(
            url(session, "whip"),
            content=self.connection.localDescription.sdp,
            headers={**bearer(session), **SDP},
        )
        if answer.status_code == 201:
            described = RTCSessionDescription(answer.text, "answer")
            await self.connection.setRemoteDescription(described)
        return answer


@asynccontextmanager
async def publisher() -> AsyncIterator[Publisher]:
    """A publisher that hangs up at the end."""
    one = Publisher()
    try:
        yield one
    finally:
        await one.connection.close()
        await asyncio.gather(*one.connecting, return_exceptions=True)
        await end_consent(one.connection)


@asynccontextmanager
async def viewer() -> AsyncIterator[Client]:
    """A viewer who hangs up at the end."""
    client = Client()
    try:
        yield client
    finally:
        await client.close()


async def test_a_viewer_comes_is_described_and_goes() -> None:
    async with serving(ice_servers=ICE_SERVERS) as caller, viewer() as client:
        session = await caller.create()
        answer = await view(caller, session, client)
        assert answer.status_code == 201 and answer.headers["content-type"] == "application/sdp"
        assert answer.headers["etag"].startswith('"')
        assert answer.headers.get_list("link") == [
            '<stun:127.0.0.1:9>; rel="ice-server"',
            f'<{TURN}>; rel="ice-server"; username="ann";'
            ' credential="secret"; credential-type="password"',
        ]
        assert "a=sendonly" in answer.text and "a=recvonly" not in answer.text
        place = resource(session, "whep", answer)
        assert place.startswith(url(session, "whep") + "/") and session["token"] not in place
        assert (await caller.http.get(place, headers=bearer(session))).status_code == 204
        assert (await caller.http.delete(place, headers=bearer(session))).status_code == 200
        assert (await caller.http.delete(place, headers=bearer(session))).status_code == 404


async def test_what_may_be_done_is_told_without_a_body() -> None:
    async with serving() as caller:
        session = await caller.create()
        for kind in ("whip", "whep"):
            path = url(session, kind)
            for method in ("GET", "HEAD"):
                told = await caller.http.request(method, path, headers=bearer(session))
                assert told.status_code == 200 and told.content == b""
                assert told.headers["content-type"] == "application/sdp"
            told = await caller.http.options(path)
            assert told.status_code == 200 and told.headers["accept-post"] == "application/sdp"


async def test_candidates_follow_and_a_restart_is_refused_without_harm() -> None:
    async with serving() as caller, viewer() as client:
        session = await caller.create()
        answer = await view(caller, session, client)
        place, tag = resource(session, "whep", answer), answer.headers["etag"]
        ufrag = next(
            line
            for line in client.connection.localDescription.sdp.splitlines()
            if line.startswith("a=ice-ufrag:")
        )
        fragment = f"{ufrag}\r\na=ice-pwd:x\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
        fragment += "a=candidate:1 1 udp 1 192.0.2.7 4444 typ host\r\na=candidate:bad\r\n"

        async def patch(content: str, **headers: str) -> int:
            given = {**bearer(session), **FRAGMENT, **headers}
            return (await caller.http.patch(place, content=content, headers=given)).status_code

        assert await patch(fragment, **{"If-Match": tag}) == 204
        assert await patch(fragment) == 204, "clients of WHEP do not know the tag"
        assert await patch("a=end-of-candidates\r\n") == 204
        assert await patch(fragment, **{"If-Match": '"other"'}) == 412
        assert await patch(fragment, **{"Content-Type": "application/sdp"}) == 415
        assert await patch("hello") == 400
        restart = "a=ice-ufrag:new\r\na=ice-pwd:0123456789abcdef01234567\r\n"
        assert await patch(restart, **{"If-Match": "*"}) == 422
        assert (await caller.http.get(place, headers=bearer(session))).status_code == 204


async def test_a_publisher_must_name_the_tag() -> None:
    async with serving() as caller, publisher() as one:
        session = await caller.create(mode="echo")
        answer = await one.publish(caller, session)
        place = resource(session, "whip", answer)
        headers = {**bearer(session), **FRAGMENT}
        end = "a=end-of-candidates\r\n"
        assert (await caller.http.patch(place, content=end, headers=headers)).status_code == 428
        headers["If-Match"] = answer.headers["etag"]
        assert (await caller.http.patch(place, content=end, headers=headers)).status_code == 204


async def test_what_is_published_is_spoken_and_one_publisher_is_enough() -> None:
    async with serving() as caller, publisher() as one, publisher() as another:
        session = await caller.create(mode="echo")
        answer = await one.publish(caller, session)
        assert answer.status_code == 201 and "a=recvonly" in answer.text
        async with caller.stream(session) as socket:
            assert (await socket.frame(speaking=True)).audio.strip(b"\0")
            second = await another.publish(caller, session)
            assert second.status_code == 409 and int(second.headers["retry-after"]) > 0
            place = resource(session, "whip", answer)
            assert (await caller.http.delete(place, headers=bearer(session))).status_code == 200
            assert (await another.publish(caller, session)).status_code == 201
            await until(lambda: another.connection.connectionState == "connected")


async def test_who_may_not_come_is_told_why() -> None:
    async with serving(max_viewers=1) as caller, viewer() as client, publisher() as one:
        session = await caller.create()
        headers = {**bearer(session), **SDP}
        path = url(session, "whep")
        assert (await caller.http.post(path, content="v=0", headers=headers)).status_code == 400
        assert (await view(caller, session, client)).status_code == 201
        full = await caller.http.post(path, content="v=0", headers=headers)
        assert full.status_code == 503 and int(full.headers["retry-after"]) > 0
        mute = await one.publish(caller, session)
        assert mute.status_code == 409 and "mode echo" in mute.json()["detail"]
        for headers in (SDP, {**SDP, "Authorization": "Bearer wrong"}):
            unknown = await caller.http.post(path, content="v=0", headers=headers)
            assert unknown.status_code == 401 and "www-authenticate" in unknown.headers
        wrong = {**bearer(session), "Content-Type": "application/json"}
        assert (await caller.http.post(path, content="{}", headers=wrong)).status_code == 415


async def test_viewers_share_one_stream_and_who_leaves_frees_a_place() -> None:
    async with serving(max_viewers=2) as caller, viewer() as first, viewer() as second:
        described = await caller.create()
        sessions = caller.app.state.context.sessions
        session = sessions.find(described["session_id"], described["token"])
        for client in (first, second):
            await client.accept((await view(caller, described, client)).text)
        await until(lambda: sum(output.ready for output in session.guests.values()) == 2)
        assert session.outputs.codecs == {"h264": min(o.bitrate for o in session.guests.values())}
        await first.close()
        await until(lambda: len(session.guests) == 1)


async def test_a_viewer_that_vanished_has_so_much_less_time_to_come_back() -> None:
    async with serving(resume_s=MEDIA_TIMEOUT_S + 0.2) as caller, viewer() as client:
        described = await caller.create()
        sessions = caller.app.state.context.sessions
        session = sessions.find(described["session_id"], described["token"])
        await client.accept((await view(caller, described, client)).text)
        await until(lambda: all(output.ready for output in session.guests.values()))
        (guest,) = session.guests.values()
        guest._end(CloseReason.VANISHED)
        await until(lambda: session.ended, timeout_s=MEDIA_TIMEOUT_S / 2)


async def test_a_token_for_one_use_is_good_for_the_call_that_it_opened_alone() -> None:
    async with serving() as caller, viewer() as one, viewer() as another:
        session = await caller.create()
        tokens, places = [], []
        for client in (one, another):
            path = f"/session/{session['session_id']}/token?scope=offer"
            token = (await caller.http.post(path, headers=bearer(session))).json()
            tokens.append(bearer(token))
            answer = await view(caller, {**session, "token": token["token"]}, client)
            assert answer.status_code == 201, answer.text
            places.append(resource(session, "whep", answer))
        for mine, place in zip(tokens, reversed(places), strict=True):
            assert (await caller.http.delete(place, headers=mine)).status_code == 401
        end = "a=end-of-candidates\r\n"
        for mine, place in zip(tokens, places, strict=True):
            headers = {**mine, **FRAGMENT}
            added = await caller.http.patch(place, content=end, headers=headers)
            assert added.status_code == 204
            assert (await caller.http.delete(place, headers=mine)).status_code == 200
