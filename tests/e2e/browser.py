"""A headless Chromium for tests: launch it, give it a microphone, skip loudly without it.

    async with chromium(microphone=speech_wav) as browser:
        page = await open_page(browser, html, address="http://localhost/")

Tests with a real server go to its address with ``browser.new_page()`` and ``page.goto`` instead.
"""

from __future__ import annotations

import os
import shutil
import wave
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import ifaddr
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.async_api import Browser, Page, Route, async_playwright

from models.io import console

INSTALL_HINT = "apt-get install --no-install-recommends chromium fonts-dejavu-core"
NAMES = ("chromium", "chromium-browser", "google-chrome")

ALWAYS_YES = "--use-fake-ui-for-media-stream"  # to the microphone question
FLAGS = (
    "--no-sandbox",  # the tests may run as root in a container
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
    ALWAYS_YES,
    "--use-fake-device-for-media-stream",
)
"""Nothing here helps WebRTC to connect: what connects in a test connects for a person."""

OFFLINE_FLAG = "--allow-loopback-in-peer-connection"
"""Without any network Chromium connects to nothing unless this is set (and a microphone granted);
used on machines that have only a loopback interface."""


def chromium_path() -> Path | None:
    """The browser: ``LIVEHEAD_TEST_CHROMIUM`` if set, else what the system has, else None."""
    named = os.environ.get("LIVEHEAD_TEST_CHROMIUM")
    if named:
        return Path(named)
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return Path(found) if found else None


def require_chromium() -> Path:
    """The browser, or skip the test and say loudly how to get one."""
    path = chromium_path()
    if path is None or not path.exists():
        message = f"BROWSER TESTS SKIPPED: no Chromium on this machine. Install it: {INSTALL_HINT}"
        console.warn(message)
        pytest.skip(message)
    return path


def has_network() -> bool:
    """Whether the machine has an address beside loopback."""
    addresses = (ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips)
    names = (address if isinstance(address, str) else address[0] for address in addresses)
    return any(not ip_address(name).is_loopback for name in names)


@asynccontextmanager
async def chromium(
    *, microphone: Path | None = None, flags: Sequence[str] = (), asks: bool = False
) -> AsyncIterator[Browser]:
    """A running browser.

    Args:
        microphone: a WAV that its fake microphone plays over and over.
        flags: more of Chromium's own.
        asks: for the microphone, which is refused where a context does not grant it.
    """
    path = require_chromium()
    arguments = [flag for flag in FLAGS if not (asks and flag == ALWAYS_YES)]
    arguments += [*flags, *([] if has_network() else [OFFLINE_FLAG])]
    if microphone is not None:
        arguments.append(f"--use-file-for-fake-audio-capture={microphone}")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, headless=True, args=arguments
        )
        try:
            yield browser
        finally:
            await browser.close()


async def open_page(browser: Browser, html: str, *, address: str = "http://localhost/") -> Page:
    """Open ``html`` as if a server at ``address`` had sent it (so that it may use a microphone).

    Whatever the page writes to its console is printed when the test fails.
    """
    context = await browser.new_context(permissions=["microphone"])
    page = await context.new_page()
    page.on("console", lambda message: console.say(f"page: {message.text}"))
    page.on("pageerror", lambda error: console.say(f"page error: {error}"))

    async def answer(route: Route) -> None:
        if route.request.url == address:
            await route.fulfill(body=html, content_type="text/html")
        else:
            await route.fulfill(status=404, body="")

    await page.route(f"{address}**", answer)
    await page.goto(address)
    return page


def write_microphone(path: Path, pcm: NDArray[np.int16], rate: int = 48_000) -> Path:
    """Write mono int16 [N] as a WAV for ``chromium(microphone=...)``."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm.astype("<i2").tobytes())
    return path
