"""The page says clips and files: over WebRTC, over the WebSocket, and stops when interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from tests.e2e.demo import open_demo, skip_if_busy
from tests.support.beeps import beeps, write_wav
from tests.support.server_process import RunningServer

pytestmark = pytest.mark.e2e

IN_STEP_MS = 150.0  # of four beeps, the first among them; test_page_talk.py looks closer
WITHOUT_WEBCODECS = "delete window.VideoDecoder;"
WITHOUT_WEBRTC = "delete window.RTCPeerConnection;"


@pytest.mark.parametrize(
    ("route", "scripts", "name"),
    [
        ("webrtc", (), "WebRTC"),
        ("websocket", (), "WebSocket"),
        ("websocket", (WITHOUT_WEBCODECS,), "WebSocket, JPEG"),
    ],
    ids=["webrtc", "websocket", "jpeg"],
)
async def test_a_clip_is_said_to_its_end(
    server: RunningServer,
    beeping: Path,
    screenshots: Path,
    route: Literal["webrtc", "websocket"],
    scripts: tuple[str, ...],
    name: str,
) -> None:
    async with open_demo(server, clip=beeping, scripts=scripts, screenshots=screenshots) as demo:
        await demo.use_route(route)
        await demo.start()
        await demo.wait_state("talking")
        await demo.page.wait_for_timeout(1500)
        await demo.shoot(f"clip-{name}-talking".replace(", ", "-"))
        await demo.wait_state("idle")
        await demo.page.wait_for_timeout(400)
        seen = await demo.seen()
        assert len(seen.flashes) in (3, 4), "the first may come before pictures do"
        assert len(seen.beeps) in (3, 4)
        if abs(seen.skew_ms()) > IN_STEP_MS:
            skip_if_busy()
        assert abs(seen.skew_ms()) <= IN_STEP_MS
        assert await demo.page.inner_text("#n-route") == name
        assert 0 < await demo.value("delayMs") < 2000
        await demo.shoot(f"clip-{name}-idle".replace(", ", "-"))
        await demo.forget()
        await demo.page.click("#say")
        await demo.wait_state("talking")
        await demo.wait_state("idle")
        assert len((await demo.seen()).flashes) == 4, "once more, all of it"


async def test_an_interrupt_stops_at_once(server: RunningServer, tmp_path: Path) -> None:
    clip = write_wav(tmp_path / "long.wav", beeps(30.0))
    async with open_demo(server, clip=clip) as demo:
        await demo.start()
        await demo.wait_state("talking")
        await demo.page.wait_for_timeout(1500)
        await demo.page.keyboard.press("Escape")
        await demo.wait_state("idle")
        seen = await demo.watch(2.5)
        assert seen.flashes == [] and seen.beeps == []
        assert len(seen.counters) > 40, "the face lives on"
        await demo.page.click("#say")
        await demo.wait_state("talking")
        await demo.page.click("#interrupt")
        await demo.wait_state("idle")


@pytest.mark.parametrize("why", ["absent", "refused"])
async def test_without_webrtc_it_falls_back_to_the_websocket(
    server: RunningServer, beeping: Path, why: str
) -> None:
    scripts = [WITHOUT_WEBRTC] if why == "absent" else []
    async with open_demo(server, clip=beeping, scripts=scripts) as demo:
        if why == "refused":
            await demo.page.route("**/offer", lambda route: route.abort())
        await demo.start()
        assert await demo.value("route") == "WebSocket"
        await demo.wait_state("talking")
        assert await demo.page.is_hidden("#notice")


async def test_webrtc_only_says_why_it_cannot(server: RunningServer, beeping: Path) -> None:
    async with open_demo(server, clip=beeping, scripts=[WITHOUT_WEBRTC]) as demo:
        await demo.use_route("webrtc")
        await demo.page.click("#start")
        assert "WebRTC could not connect" in await demo.notice()
        assert await demo.value("state") == "off"


async def test_a_file_of_ones_own_is_said(
    server: RunningServer, beeping: Path, tmp_path: Path, screenshots: Path
) -> None:
    async with open_demo(server, screenshots=screenshots) as demo:
        await demo.choose("File")
        await demo.page.click("#start")
        assert "Choose an audio file first" in await demo.notice()
        broken = tmp_path / "broken.mp3"
        broken.write_bytes(b"no sound at all")
        await demo.page.set_input_files("#speech-file", broken)
        await demo.until(
            "document.getElementById('notice-text').textContent.includes('cannot decode')"
        )
        await demo.shoot("file-refused")
        await demo.page.set_input_files("#speech-file", beeping)
        await demo.page.get_by_text("4.0 seconds, ready").wait_for()
        await demo.start()
        await demo.wait_state("talking")
        await demo.wait_state("idle")
        assert (await demo.seen()).flashes
