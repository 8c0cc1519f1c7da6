"""The page's other sides: portraits, a phone, the keyboard, a busy or locked server, leaving."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from PIL import Image
from playwright.async_api import Route

from tests.e2e.demo import PHONE, Demo, open_demo
from tests.support.server_process import RunningServer

pytestmark = pytest.mark.e2e

ORANGE = (210, 120, 50)
MIDDLE = """() => {
  const sheet = new OffscreenCanvas(256, 256).getContext("2d");
  sheet.drawImage(document.getElementById("face-video"), 0, 0, 256, 256);
  return [...sheet.getImageData(128, 100, 1, 1).data.slice(0, 3)];
}"""


def picture(side: int, colour: tuple[int, int, int] = ORANGE, kind: str = "PNG") -> bytes:
    """A plain picture file."""
    sink = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(sink, kind)
    return sink.getvalue()


async def choose_portrait(demo: Demo, data: bytes, name: str = "me.png") -> None:
    """Choose a file as a person would."""
    await demo.page.set_input_files(
        "#portrait-file", {"name": name, "mimeType": "image/png", "buffer": data}
    )


async def test_a_portrait_of_ones_own_comes_alive(
    server: RunningServer, beeping: Path, screenshots: Path
) -> None:
    async with open_demo(server, clip=beeping, screenshots=screenshots) as demo:
        await choose_portrait(demo, picture(2400))
        await demo.page.get_by_text("Yours").wait_for()
        await demo.shoot("portrait-chosen")
        await demo.start()
        assert await demo.page.evaluate(MIDDLE) == pytest.approx(ORANGE, abs=16)
        assert demo.sessions[0]["avatar_id"] is None
        await demo.shoot("portrait-live")


async def test_a_refused_portrait_is_explained(
    server: RunningServer, beeping: Path, screenshots: Path
) -> None:
    async with open_demo(server, clip=beeping, screenshots=screenshots) as demo:
        await choose_portrait(demo, picture(20))
        await demo.page.click("#start")
        assert "too small" in await demo.notice()
        assert await demo.value("state") == "off"
        await demo.shoot("portrait-refused")
        await demo.page.locator("#gallery .tile").first.click()
        assert await demo.page.is_hidden("#notice"), "another choice clears it"
        await choose_portrait(demo, b"not a picture", "letter.png")
        assert "cannot be read" in await demo.notice()


async def test_another_face_while_live_begins_again(server: RunningServer, beeping: Path) -> None:
    async with open_demo(server, clip=beeping) as demo:
        await demo.start()
        await choose_portrait(demo, picture(300))
        await demo.until("livehead.state === 'off' || livehead.framesShown === 0")
        await demo.until("livehead.framesShown > 2")
        assert len(demo.sessions) == 2
        assert gone(server, demo.sessions[0])


async def test_leaving_the_page_ends_the_session(server: RunningServer, beeping: Path) -> None:
    async with open_demo(server, clip=beeping) as demo:
        await demo.start()
        assert not gone(server, demo.sessions[0])
        await demo.page.goto("about:blank")
        for _ in range(50):
            if gone(server, demo.sessions[0]):
                break
            await demo.page.wait_for_timeout(100)
        assert gone(server, demo.sessions[0])


async def test_end_returns_to_the_start(server: RunningServer, beeping: Path) -> None:
    async with open_demo(server, clip=beeping) as demo:
        await demo.start()
        await demo.page.click("#end")
        await demo.wait_state("off")
        assert await demo.page.is_visible("#start")
        assert gone(server, demo.sessions[0])
        await demo.start()
        assert len(demo.sessions) == 2


@pytest.mark.parametrize("route", ["webrtc", "websocket"])
async def test_its_own_content_policy_lets_it_work(
    server: RunningServer, beeping: Path, route: Literal["webrtc", "websocket"]
) -> None:
    async with open_demo(server, microphone=beeping, probed=False) as demo:
        await demo.choose("Talk")
        await demo.use_route(route)
        await demo.start()
        await demo.wait_state("talking")
        await demo.page.click("#end")
        await demo.wait_state("off")
        assert demo.logged == [], "neither errors nor refused resources"


async def test_it_fits_a_phone(server: RunningServer, beeping: Path, screenshots: Path) -> None:
    async with open_demo(server, clip=beeping, window=PHONE, screenshots=screenshots) as demo:
        await demo.shoot("phone-off", whole=True)
        await check_fit(demo, "#start")
        await demo.start()
        await demo.wait_state("talking")
        await check_fit(demo, "#interrupt", "#end", "#n-fps")
        await demo.shoot("phone-live", whole=True)


async def check_fit(demo: Demo, *visible: str) -> None:
    """Nothing is wider than the window; these can be reached without scrolling."""
    width = await demo.page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE[0]
    for selector in visible:
        box = await demo.page.locator(selector).bounding_box()
        assert box is not None and box["y"] + box["height"] <= PHONE[1], selector


async def test_dark_and_light(server: RunningServer, beeping: Path, screenshots: Path) -> None:
    for dark in (False, True):
        async with open_demo(server, clip=beeping, dark=dark, screenshots=screenshots) as demo:
            await demo.shoot(f"off-{'dark' if dark else 'light'}")
            paper = await demo.page.evaluate("getComputedStyle(document.body).backgroundColor")
            level = int(paper.removeprefix("rgb(").split(",")[0])
            assert (level < 80) is dark


async def test_the_keyboard_is_enough(server: RunningServer, beeping: Path) -> None:
    async with open_demo(server, clip=beeping) as demo:
        for _ in range(12):
            await demo.page.keyboard.press("Tab")
            if await demo.page.evaluate("document.activeElement.id") == "start":
                break
        await demo.page.keyboard.press("Enter")
        await demo.wait_state("talking")
        assert await demo.page.evaluate("document.activeElement.id") == "say"
        await demo.page.keyboard.press("Escape")
        await demo.wait_state("idle")


async def test_a_full_server_is_said_plainly(
    server: RunningServer, beeping: Path, screenshots: Path
) -> None:
    async with open_demo(server, clip=beeping, screenshots=screenshots) as demo:
        await refuse(demo, 503, "no_capacity", {"Retry-After": "10"})
        await demo.page.click("#start")
        assert "in about 10 s" in await demo.notice()
        await demo.shoot("server-full")


async def test_a_locked_server_asks_for_its_key(
    server: RunningServer, beeping: Path, screenshots: Path
) -> None:
    async with open_demo(server, clip=beeping, screenshots=screenshots) as demo:
        keys: list[str | None] = []
        await refuse(demo, 401, "unauthorised", {}, keys)
        await demo.page.click("#start")
        assert "access key" in await demo.notice()
        await demo.shoot("key-wanted")
        await demo.page.fill("#key", "secret")
        await demo.page.keyboard.press("Enter")
        await demo.page.wait_for_timeout(500)
        assert keys == [None, "Bearer secret"]


async def refuse(
    demo: Demo,
    status: int,
    code: str,
    headers: dict[str, str],
    keys: list[str | None] | None = None,
) -> None:
    """Answer POST /session as such a server would."""
    problem = json.dumps({"title": code, "status": status, "code": code, "detail": "no"})

    async def answer(route: Route) -> None:
        if keys is not None:
            keys.append(route.request.headers.get("authorization"))
        await route.fulfill(
            status=status, headers=headers, body=problem, content_type="application/problem+json"
        )

    await demo.page.route("**/session", answer)


def gone(server: RunningServer, session: dict[str, Any]) -> bool:
    """Whether the server no longer knows the session."""
    headers = {"Authorization": f"Bearer {session['token']}"}
    answer = httpx.get(f"{server.url}/session/{session['session_id']}", headers=headers)
    return answer.status_code == 404
