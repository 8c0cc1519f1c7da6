"""The demo page in a browser: opens it with a probe inside, presses what a person presses."""

from __future__ import annotations

import json
import math
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import pytest
from playwright.async_api import Page, Route

from models.io import console
from tests.e2e.browser import chromium
from tests.support.server_process import RunningServer

PROBE = Path(__file__).with_name("probe.js").read_text("utf-8")
DESKTOP = (1280, 800)
PHONE = (360, 740)
PATIENCE_MS = 30_000
POLL_MS = 50
BUSY_PER_CORE = 2.0

Kind = Literal["Clip", "Talk", "File"]


@dataclass(frozen=True)
class Seen:
    """What the probe saw and heard, times in ms on the page's clock.

    Attributes:
        counters: the numbers of the frames that were shown, in order.
        times: when each was shown.
        flashes, beeps: onsets.
    """

    counters: list[int]
    times: list[float]
    flashes: list[float]
    beeps: list[float]

    def rate(self) -> float:
        """Frames of media that went by in a second."""
        return 1000 * (self.counters[-1] - self.counters[0]) / (self.times[-1] - self.times[0])

    def steps(self) -> list[int]:
        """How far the number advances from each shown frame to the next."""
        return [b - a for a, b in zip(self.counters, self.counters[1:], strict=False)]

    def skew_ms(self) -> float:
        """Median of beep minus flash, each beep with its nearest flash; infinite without either."""
        if not self.flashes:
            return math.inf
        nearest = [min((beep - flash for flash in self.flashes), key=abs) for beep in self.beeps]
        return median(nearest) if nearest else math.inf


def skip_if_busy() -> None:
    """On a machine with far more to do than cores, times say nothing of the page: say so and skip.

    A browser that draws without a graphics processor, and the server, keep about two cores busy.
    """
    cores, waiting = os.cpu_count() or 1, os.getloadavg()[0]
    if waiting > BUSY_PER_CORE * cores:
        message = f"TIMES NOT JUDGED: {waiting:.0f} tasks want this machine's {cores} cores"
        console.warn(message)
        pytest.skip(message)


class Demo:
    """One open page."""

    def __init__(self, page: Page, screenshots: Path | None) -> None:
        self.page = page
        self.sessions: list[dict[str, Any]] = []
        self.logged: list[str] = []  # what the page writes to the browser's console
        self._screenshots = screenshots

    async def choose(self, kind: Kind) -> None:
        """Choose the kind of voice."""
        await self.page.locator(".segments").get_by_text(kind, exact=True).click()

    async def use_route(self, route: Literal["auto", "webrtc", "websocket"]) -> None:
        """Choose how media travel."""
        if await self.page.locator(".more").get_attribute("open") is None:
            await self.page.locator(".more summary").click()
        await self.page.select_option("#route", route)

    async def start(self) -> None:
        """Press Start and wait until pictures are shown."""
        await self.page.click("#start")
        await self.until("livehead.framesShown > 2")

    async def wait_state(self, *states: str) -> None:
        """Wait for one of the states."""
        await self.until(f"{json.dumps(states)}.includes(livehead.state)")

    async def until(self, condition: str, patience_ms: int = PATIENCE_MS) -> None:
        """Wait until a JavaScript expression holds; asks from outside, as the page forbids eval."""
        for _ in range(patience_ms // POLL_MS):
            if await self.page.evaluate(condition):
                return
            await self.page.wait_for_timeout(POLL_MS)
        raise AssertionError(f"still not so after {patience_ms} ms: {condition}")

    async def value(self, name: str) -> Any:
        """A property of window.livehead."""
        return await self.page.evaluate("name => livehead[name]", name)

    async def notice(self) -> str:
        """The trouble that the page tells, once it tells one."""
        notice = self.page.locator("#notice:visible #notice-text")
        return await notice.inner_text(timeout=PATIENCE_MS)

    async def forget(self) -> None:
        """Drop what the probe has seen so far."""
        await self.page.evaluate(
            "() => { for (const k of ['frames', 'flashes', 'beeps']) probe[k].length = 0; }"
        )

    async def watch(self, seconds: float) -> Seen:
        """Look and listen for a while."""
        await self.forget()
        await self.page.wait_for_timeout(1000 * seconds)
        return await self.seen()

    async def seen(self) -> Seen:
        """What the probe has seen since ``forget``."""
        probe = await self.page.evaluate("probe")
        frames = probe["frames"]
        return Seen(
            [frame["counter"] for frame in frames],
            [frame["at"] for frame in frames],
            probe["flashes"],
            probe["beeps"],
        )

    async def shoot(self, name: str, *, whole: bool = False) -> None:
        """Take a picture of the page for a person to look at."""
        if self._screenshots is not None:
            await self.page.screenshot(path=self._screenshots / f"{name}.png", full_page=whole)


@asynccontextmanager
async def open_demo(
    server: RunningServer,
    *,
    microphone: Path | None = None,
    clip: Path | None = None,
    window: tuple[int, int] = DESKTOP,
    dark: bool = False,
    scripts: Sequence[str] = (),
    probed: bool = True,
    refuses: bool = False,
    screenshots: Path | None = None,
) -> AsyncIterator[Demo]:
    """The page of a server, before anything is pressed.

    Args:
        server: that serves it.
        microphone: a WAV that the browser's fake microphone plays.
        clip: a WAV that the page finds as the server's only clip.
        window: width and height.
        dark: whether the system prefers dark colours.
        scripts: run in the page before its own.
        probed: with ``probe.js`` inside, for which the page's content policy is lifted.
        refuses: the person does not let the page use the microphone.
        screenshots: folder for ``Demo.shoot``.
    """
    async with chromium(microphone=microphone, asks=refuses) as browser:
        context = await browser.new_context(
            viewport={"width": window[0], "height": window[1]},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",  # spares the processor for the face
            bypass_csp=probed,  # the probe brings an audio worklet of its own
            permissions=[] if refuses else ["microphone"],
        )
        page = await context.new_page()
        demo = Demo(page, screenshots)
        page.on("console", lambda message: demo.logged.append(message.text))
        page.on("pageerror", lambda error: demo.logged.append(f"error: {error}"))
        for script in (*([PROBE] if probed else []), *scripts):
            await page.add_init_script(script)
        if clip is not None:
            await offer_clip(page, clip)
        await remember_sessions(page, demo.sessions)
        await page.goto(server.url)
        await page.wait_for_selector("#gallery .tile")
        yield demo


async def offer_clip(page: Page, clip: Path) -> None:
    """Answer /clips with one clip."""
    listing = {
        "clips": [
            {"id": "beeps", "name": "Beeps", "url": "/clips/beeps.wav", "text": "Beep, beep."}
        ]
    }
    sound = clip.read_bytes()

    async def answer(route: Route) -> None:
        if route.request.url.endswith(".wav"):
            await route.fulfill(body=sound, content_type="audio/wav")
        else:
            await route.fulfill(body=json.dumps(listing), content_type="application/json")

    await page.route("**/clips", answer)
    await page.route("**/clips/*.wav", answer)


async def remember_sessions(page: Page, sessions: list[dict[str, Any]]) -> None:
    """Append what the server says of each session that the page opens."""

    async def watch(route: Route) -> None:
        response = await route.fetch()
        if response.status == 201:
            sessions.append(await response.json())
        await route.fulfill(response=response)

    await page.route("**/session", watch)
