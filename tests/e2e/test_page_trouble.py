"""The page when plans change and things break: faces changed midway, silent servers, lost media."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Literal

import httpx
import pytest
from playwright.async_api import Route, WebSocketRoute

from tests.e2e.demo import Demo, open_demo
from tests.e2e.test_page_faces import gone, refuse
from tests.support.beeps import beeps, write_wav
from tests.support.server_process import RunningServer

pytestmark = pytest.mark.e2e

SILENCE_S = 10.0  # after which the page gives a server up
SPEECH_S = 10
KEEP_THE_PEER = """
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...options) { super(...options); window.peer = this; }
};
"""
LOSE_THE_CALL = """() => {
  Object.defineProperty(peer, "connectionState", { value: "failed" });
  peer.dispatchEvent(new Event("connectionstatechange"));
}"""
KEEP_THE_DECODER = """
window.VideoDecoder = class extends VideoDecoder {
  constructor(init) { super(init); window.decoding = init; }
};
"""
BREAK_THE_DECODER = "() => decoding.error(new DOMException('broken', 'EncodingError'))"


async def face(demo: Demo, number: int) -> None:
    """Choose one of the bundled faces."""
    await demo.page.locator("#gallery .tile").nth(number).click()


async def test_each_change_of_face_begins_again_while_it_speaks(
    server: RunningServer, tmp_path: Path
) -> None:
    clip = write_wav(tmp_path / "long.wav", beeps(60.0))
    async with open_demo(server, clip=clip) as demo:
        await demo.start()
        for number in (1, 2):
            await demo.wait_state("talking")
            await face(demo, number)
            await demo.until("livehead.framesShown === 0")
            await demo.until("livehead.framesShown > 2", 15_000)
            assert len(demo.sessions) == number + 1
        assert [gone(server, session) for session in demo.sessions] == [True, True, False]
        await demo.wait_state("talking")
        await demo.page.click("#end")
        await demo.wait_state("off")
        await demo.page.wait_for_timeout(1000)
        assert await demo.value("state") == "off", "nothing begins again by itself"
        assert len(demo.sessions) == 3


async def test_a_face_changed_before_the_session_opened(
    server: RunningServer, beeping: Path
) -> None:
    """The session that comes too late is ended, and what the next one says is not wiped away."""
    async with open_demo(server, clip=beeping) as demo:
        asked, answer = asyncio.Event(), asyncio.Event()

        async def hold(route: Route) -> None:
            asked.set()
            await answer.wait()
            await route.fallback()

        await demo.page.route("**/session", hold, times=1)
        await demo.page.click("#start")
        await asked.wait()
        await refuse(demo, 503, "no_capacity", {})
        await face(demo, 1)
        answer.set()
        assert "All places" in await demo.notice()
        await demo.page.wait_for_timeout(500)
        assert "All places" in await demo.notice()
        assert await demo.value("state") == "off"
        assert len(demo.sessions) == 1 and gone(server, demo.sessions[0])


async def test_a_server_that_falls_silent_is_noticed_and_told_at_once(
    server: RunningServer, beeping: Path
) -> None:
    async with open_demo(server, clip=beeping) as demo:
        silent = asyncio.Event()
        await demo.page.route_web_socket("**/stream**", lambda socket: relay(socket, silent))
        over = asyncio.Event()

        async def hang(route: Route) -> None:
            await over.wait()
            await route.abort()

        await demo.page.route("**/session/*", hang)  # no DELETE is answered in time
        await demo.use_route("websocket")
        await demo.start()
        silent.set()
        began = time.monotonic()
        assert "connection was lost" in await demo.notice()
        assert SILENCE_S - 3 < time.monotonic() - began < SILENCE_S + 5
        await demo.until("livehead.state === 'off'", 8_000)
        assert "connection was lost" in await demo.notice()
        over.set()
        await end_by_hand(server, demo)


def relay(socket: WebSocketRoute, silent: asyncio.Event) -> None:
    """Pass messages both ways until silence falls; the socket stays open."""
    there = socket.connect_to_server()
    socket.on_message(lambda message: None if silent.is_set() else there.send(message))
    there.on_message(lambda message: None if silent.is_set() else socket.send(message))


async def end_by_hand(server: RunningServer, demo: Demo) -> None:
    """End the session that the page could not."""
    for session in demo.sessions:
        headers = {"Authorization": f"Bearer {session['token']}"}
        httpx.delete(f"{server.url}/session/{session['session_id']}", headers=headers)


@pytest.mark.parametrize(
    ("route", "script", "breaks"),
    [
        ("auto", KEEP_THE_PEER, LOSE_THE_CALL),
        ("websocket", KEEP_THE_DECODER, BREAK_THE_DECODER),
    ],
    ids=["call", "decoder"],
)
async def test_speech_goes_on_when_its_media_break(
    server: RunningServer,
    tmp_path: Path,
    route: Literal["auto", "websocket"],
    script: str,
    breaks: str,
) -> None:
    clip = write_wav(tmp_path / "ten.wav", beeps(SPEECH_S))
    async with open_demo(server, clip=clip, scripts=[script]) as demo:
        await demo.use_route(route)
        await demo.start()
        await demo.wait_state("talking")
        await demo.page.wait_for_timeout(1500)
        await demo.page.evaluate(breaks)
        await demo.until("livehead.route === 'WebSocket'")
        await demo.page.wait_for_timeout(4000)
        await demo.wait_state("idle")
        seen = await demo.seen()
        assert SPEECH_S - 3 <= len(seen.flashes) <= SPEECH_S, "one or two fall into the gap"
        assert await demo.page.is_hidden("#notice")
        assert len(demo.sessions) == 1


async def test_a_server_that_still_warms_up_says_so(server: RunningServer, beeping: Path) -> None:
    async with open_demo(server, clip=beeping) as demo:
        await refuse(demo, 503, "not_ready", {"Retry-After": "2"})
        await demo.page.click("#start")
        assert "still getting ready" in await demo.notice()
