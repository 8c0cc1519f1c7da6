"""The page as a call: it says back what the microphone hears, or says plainly why it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.io import console
from tests.e2e.demo import Demo, Seen, open_demo, skip_if_busy
from tests.support.server_process import RunningServer

pytestmark = pytest.mark.e2e

WATCH_S = 9.0
IN_STEP_MS = 80.0

NO_MICROPHONE = """
navigator.mediaDevices.getUserMedia = async () => {
  throw new DOMException("none", "NotFoundError");
};
"""


async def call(demo: Demo, route: Any) -> Seen:
    """Start a call with headphones on and watch it."""
    await demo.choose("Talk")
    await demo.page.get_by_text("I am wearing headphones").click()
    await demo.use_route(route)
    await demo.start()
    await demo.wait_state("talking")
    for _ in range(3):  # on a busy machine a call's sound takes a while to find its place
        seen = await demo.watch(WATCH_S)
        if not faults(seen):
            break
    console.say(
        f"{route}: {seen.rate():.2f} fps, steps {sorted(set(seen.steps()))},"
        f" beep after flash {seen.skew_ms():.0f} ms, delay {await demo.value('delayMs'):.0f} ms"
    )
    return seen


def faults(seen: Seen) -> list[str]:
    """Which bars are missed."""
    bars = {
        f"{seen.rate():.2f} frames a second": abs(seen.rate() - 25) <= 1,
        f"{len(seen.counters)} frames shown": len(seen.counters) > 0.9 * WATCH_S * 25,
        f"steps {sorted(seen.steps())[-3:]}": sum(step > 3 for step in seen.steps()) <= 1,
        f"{len(seen.flashes)} flashes": len(seen.flashes) >= 5,
        f"{len(seen.beeps)} beeps": len(seen.beeps) >= 5,
        f"beep after flash {seen.skew_ms():.0f} ms": abs(seen.skew_ms()) <= IN_STEP_MS,
    }
    return [name for name, met in bars.items() if not met]


@pytest.mark.parametrize("route", ["webrtc", "websocket"])
async def test_it_says_back_what_the_microphone_hears(
    server: RunningServer, beeping: Path, screenshots: Path, route: str
) -> None:
    async with open_demo(server, microphone=beeping, screenshots=screenshots) as demo:
        seen = await call(demo, route)
        if missed := faults(seen):
            skip_if_busy()
        assert not missed
        assert 20 < await demo.value("fps") < 30
        assert 0 < await demo.value("delayMs") < 3000
        assert 0 <= await demo.value("rttMs") < 500
        assert await demo.value("lastFrameIndex") > WATCH_S * 20
        await demo.wait_state("talking")
        await demo.shoot(f"talk-{route}-talking")
        await demo.page.click("#mute")
        await demo.wait_state("listening", "idle")
        await demo.shoot(f"talk-{route}-muted")


async def test_a_muted_microphone_stays_muted_with_another_face(
    server: RunningServer, beeping: Path
) -> None:
    async with open_demo(server, microphone=beeping) as demo:
        await demo.choose("Talk")
        await demo.start()
        await demo.wait_state("talking")
        await demo.page.click("#mute")
        await demo.page.locator("#gallery .tile").nth(1).click()
        await demo.until("livehead.framesShown === 0")
        await demo.forget()
        await demo.until("livehead.framesShown > 2")
        await demo.page.wait_for_timeout(2500)
        assert (await demo.seen()).flashes == [], "nothing was heard, from the first sound on"
        assert await demo.page.inner_text("#mute") == "Unmute"
        await demo.page.click("#mute")
        await demo.wait_state("talking")
        await demo.page.click("#mute")
        await demo.page.click("#end")
        await demo.wait_state("off")
        await demo.start()
        assert await demo.page.inner_text("#mute") == "Mute", "a fresh start opens it"
        await demo.wait_state("talking")


async def test_a_denied_microphone_is_said_and_clips_are_offered(
    server: RunningServer, beeping: Path, screenshots: Path
) -> None:
    async with open_demo(server, clip=beeping, refuses=True, screenshots=screenshots) as demo:
        await demo.choose("Talk")
        await demo.page.click("#start")
        assert "microphone is blocked" in await demo.notice()
        assert await demo.page.is_checked('[name="voice"][value="clip"]')
        await demo.shoot("microphone-denied")
        await demo.start()
        await demo.wait_state("talking")
        assert await demo.page.is_hidden("#notice")
        assert len(demo.sessions) == 1, "no session was opened for nothing"
        await demo.page.context.grant_permissions(["microphone"])
        await demo.choose("Talk")
        await demo.until("livehead.framesShown === 0")
        await demo.until("livehead.framesShown > 2")
        assert [session["mode"] for session in demo.sessions] == ["speak", "echo"]


async def test_an_absent_microphone_is_said(server: RunningServer, beeping: Path) -> None:
    async with open_demo(server, clip=beeping, scripts=[NO_MICROPHONE]) as demo:
        await demo.choose("Talk")
        await demo.page.click("#start")
        assert "No microphone was found" in await demo.notice()
        assert await demo.value("state") == "off"
