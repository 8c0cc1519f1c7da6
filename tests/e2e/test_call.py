"""A real browser in a call with a Peer: 25 pictures a second, sound in step, microphone heard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page

from models.io import console
from server.webrtc.peer import Peer
from tests.e2e.browser import chromium, open_page, write_microphone
from tests.support.calls import FPS, FrameSource, pace, until

pytestmark = pytest.mark.e2e

HTML = Path(__file__).with_name("call.html").read_text(encoding="utf-8")
IN_STEP_MS = 80.0


class BrowserCall:
    """A page in a call with a Peer that is fed by a paced source."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.source = FrameSource()
        self.peer: Peer | None = None
        self.heard: list[NDArray[np.int16]] = []
        self.closed: list[str] = []
        self.sent_at: dict[int, float] = {}
        self.pacer: asyncio.Task[None] | None = None

    async def answer(self, offer: str) -> str:
        """What the page calls with its offer."""
        self.peer = await Peer.answer(
            offer,
            fps=FPS,
            on_microphone=lambda pcm, rate: self.heard.append(pcm),
            on_keyframe_request=self.source.want_keyframe,
            on_closed=self.closed.append,
            media_timeout_s=8.0,
            loopback=True,
        )
        self.pacer = asyncio.ensure_future(pace(self.source, self.send))
        return self.peer.answer_sdp

    async def candidate(self, candidate: dict[str, Any] | None) -> None:
        """What the page calls with each candidate."""
        if self.peer is not None and candidate:
            await self.peer.add_candidate(
                candidate["candidate"], candidate["sdpMid"], candidate["sdpMLineIndex"]
            )

    def send(self, frame: Any) -> None:
        """Send one frame and note when."""
        assert self.peer is not None
        self.sent_at[frame.index] = time.time() * 1000
        self.peer.send(frame)

    async def seen(self) -> dict[str, Any]:
        """What the page has seen and heard."""
        result: dict[str, Any] = await self.page.evaluate("seen")
        return result

    async def close(self) -> None:
        """End pacer and peer."""
        if self.pacer is not None:
            self.pacer.cancel()
            await asyncio.gather(self.pacer, return_exceptions=True)
        if self.peer is not None:
            await self.peer.aclose()


@asynccontextmanager
async def browser_call(
    microphone: Path | None, *, with_microphone: bool = True
) -> AsyncIterator[BrowserCall]:
    """A connected call that shows pictures."""
    async with chromium(microphone=microphone) as browser:
        page = await open_page(browser, HTML)
        call = BrowserCall(page)
        await page.expose_function("answer", call.answer)
        await page.expose_function("candidate", call.candidate)
        try:
            await page.evaluate("with_microphone => call(with_microphone)", with_microphone)
            await until(lambda: call.peer is not None and call.peer.connected)
            await page.wait_for_function("seen.frames.length > 5", timeout=10_000)
            yield call
        finally:
            await call.close()


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """A WAV of one second with a 440 Hz tone."""
    time_axis = np.arange(48_000) / 48_000
    pcm = (10_000 * np.sin(2 * np.pi * 440 * time_axis)).astype(np.int16)
    return write_microphone(tmp_path / "tone.wav", pcm)


async def test_pictures_sound_and_microphone(tone: Path) -> None:
    async with browser_call(tone) as call:
        offsets = await _settled_offsets(call)
        seen = await call.seen()
        video = await call.page.evaluate("inbound('video')")
        audio = await call.page.evaluate("inbound('audio')")

        frames = [frame for frame in seen["frames"] if frame["counter"]]
        counters = [frame["counter"] for frame in frames]
        assert counters == sorted(set(counters)), "every picture once and in order"
        rate = (counters[-1] - counters[0]) / (frames[-1]["at"] - frames[0]["at"]) * 1000
        assert rate == pytest.approx(FPS, rel=0.06)
        assert len(counters) > 0.85 * (counters[-1] - counters[0]), "few pictures left out"
        assert video["framesDecoded"] > 0 and video["codecId"]

        assert len(offsets) >= 3, "flashes and beeps come every two seconds"
        assert abs(median(offsets[-3:])) <= IN_STEP_MS

        spectrum = np.abs(np.fft.rfft(np.concatenate(call.heard[-50:]).astype(float)))
        heard_hz = np.argmax(spectrum) * 48_000 / (2 * (len(spectrum) - 1))
        assert heard_hz == pytest.approx(440, abs=5)
        _tell(call, frames, offsets, video, audio)


async def test_a_caller_without_microphone_permission_connects() -> None:
    async with browser_call(None, with_microphone=False) as call:
        assert call.closed == [] and call.heard == []


async def test_the_picture_comes_back_after_an_outage(tone: Path) -> None:
    async with browser_call(tone) as call:
        await asyncio.sleep(1)
        assert call.peer is not None
        sender: Any = call.peer._connection.getSenders()[0]
        sender._retransmit = _nothing  # repair would hide what is tested here
        send = sender.transport._send_rtp
        sender.transport._send_rtp = _nothing
        await asyncio.sleep(0.4)
        lost_until = call.source.index
        sender.transport._send_rtp = send
        await call.page.wait_for_function(
            f"seen.frames.at(-1).counter > {lost_until + 5}", timeout=8_000
        )
        frames = (await call.seen())["frames"]
        first = next(frame["counter"] for frame in frames if frame["counter"] >= lost_until)
        console.say(f"outage until {lost_until}, picture back at {first}, keyframe requests:")
        console.say(str(call.source.keyframe_requests))
        assert first - lost_until <= 2.2 * FPS, "at the latest with the next regular keyframe"


async def _nothing(*_: object) -> None:
    """Swallow what would have been sent."""


async def test_the_end_of_a_call_is_noticed(tone: Path) -> None:
    async with browser_call(tone) as call:
        await call.page.evaluate("connection.close()")
        await until(lambda: bool(call.closed), 12)
        assert call.closed == ["closed_by_peer"]


async def test_a_crashed_page_is_noticed(tone: Path) -> None:
    async with browser_call(tone) as call:
        with suppress(PlaywrightError):  # the page that would answer is gone
            await call.page.goto("chrome://crash")
        await until(lambda: bool(call.closed), 15)
        assert call.closed == ["vanished"]


async def test_a_call_without_media_stays_up() -> None:
    async with browser_call(None, with_microphone=False) as call:
        assert call.peer is not None and call.pacer is not None
        call.pacer.cancel()  # the worker is slow, say
        await asyncio.sleep(10)
        assert call.closed == [] and call.peer.connected


async def _settled_offsets(call: BrowserCall) -> list[float]:
    """Watch for 10 s; up to 40 s while the sound's start (slow on a busy machine) still shows."""
    offsets: list[float] = []
    for second in range(40):
        await asyncio.sleep(1)
        seen = await call.seen()
        offsets = _offsets(seen["flashes"], seen["beeps"])
        settled = len(offsets) >= 3 and max(map(abs, offsets[-3:])) <= IN_STEP_MS
        if second >= 9 and settled:
            break
    return offsets


def _offsets(flashes: list[float], beeps: list[float]) -> list[float]:
    """Beep minus flash, ms, for each beep that has a flash within half a period."""
    return [
        nearest
        for beep in beeps
        if flashes and abs(nearest := min((beep - flash for flash in flashes), key=abs)) < 1000
    ]


def _tell(
    call: BrowserCall, frames: list[Any], offsets: list[float], video: Any, audio: Any
) -> None:
    """Measurements for a person; nothing is judged by them."""
    delays = [
        frame["wall"] - call.sent_at[frame["counter"]]
        for frame in frames[10:]
        if frame["counter"] in call.sent_at
    ]
    counts = call.peer.microphone.counts if call.peer and call.peer.microphone else None
    console.say(f"send to picture: median {median(delays):.1f} ms, of {len(delays)}")
    console.say(f"beep after flash: {[round(offset) for offset in offsets]} ms")
    per = 1000 / max(1, audio["jitterBufferEmittedCount"])
    console.say(f"sound buffer {audio['jitterBufferDelay'] * per:.0f} ms, microphone {counts}")
    console.say(f"video {video['framesPerSecond']} fps, freezes {video['freezeCount']}")
