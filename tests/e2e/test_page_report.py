"""The page's panel on a portrait of one's own: what was found, hints, pointing at another face."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.async_api import Route

from models.face.portrait import prepare_portrait
from models.face.report import PortraitReport
from tests.e2e.demo import DESKTOP, Demo, open_demo
from tests.models.conftest import PHOTO
from tests.models.face.test_report import PERFECT
from tests.support.server_process import RunningServer

pytestmark = pytest.mark.e2e

NARROW = (390, 844)


def two_people() -> bytes:
    """The photograph twice, side by side, as PNG."""
    photo = np.asarray(Image.open(PHOTO).convert("RGB"))
    small = cv2.resize(photo, (260, 260), interpolation=cv2.INTER_AREA)
    picture = np.full((320, 620, 3), 90, np.uint8)
    picture[:, :320], picture[60:, 340:600] = photo, small
    sink = io.BytesIO()
    Image.fromarray(picture).save(sink, "PNG")
    return sink.getvalue()


async def report_as(demo: Demo, report: PortraitReport, sent: list[str]) -> None:
    """Answer POST /session with a report, as a model that looks at faces does."""

    async def answer(route: Route) -> None:
        sent.append((route.request.post_data_buffer or b"").decode("latin1"))
        response = await route.fetch()
        await route.fulfill(
            response=response, json=await response.json() | {"report": report.as_record()}
        )

    await demo.page.route("**/session", answer)


async def choose(demo: Demo, data: bytes) -> None:
    """Choose a picture and start."""
    await demo.page.set_input_files(
        "#portrait-file", {"name": "me.png", "mimeType": "image/png", "buffer": data}
    )
    await demo.page.get_by_text("Yours", exact=True).wait_for()
    await demo.start()


@pytest.mark.parametrize("window", [DESKTOP, NARROW])
async def test_what_was_found_is_shown_and_another_face_can_be_chosen(
    server: RunningServer, beeping: Path, screenshots: Path, window: tuple[int, int]
) -> None:
    picture = np.asarray(Image.open(io.BytesIO(two_people())).convert("RGB"))
    report, sent = prepare_portrait(picture).report, list[str]()
    async with open_demo(server, clip=beeping, window=window, screenshots=screenshots) as demo:
        await report_as(demo, report, sent)
        assert await demo.page.is_hidden("#report")
        await choose(demo, two_people())
        panel = demo.page.locator("#report")
        text = await panel.inner_text()
        assert "This picture works" in text
        assert "2 people are there" in text
        assert "The teeth show" in text
        await panel.scroll_into_view_if_needed()
        await demo.shoot(f"report-{window[0]}")
        await demo.shoot(f"report-{window[0]}-whole", whole=True)
        frame = await demo.page.locator("#report-box").bounding_box()
        image = await demo.page.locator("#report-image").bounding_box()
        assert frame and image and frame["x"] < image["x"] + image["width"] / 2
        width = await demo.page.evaluate("document.documentElement.scrollWidth")
        assert width <= window[0]
        await demo.page.click(
            "#report-picture",
            position={"x": 0.76 * image["width"], "y": 0.6 * image["height"]},
        )
        await demo.until("livehead.state === 'off' || livehead.framesShown === 0")
        await demo.until("livehead.framesShown > 2")
        assert len(sent) == 2 and 'name="box"' not in sent[0]
        left, top, across, down = map(float, sent[1].split('name="box"')[1].split()[0].split(","))
        assert left < 0.76 < left + across
        assert top < 0.6 < top + down


async def test_a_perfect_picture_is_praised_and_a_bundled_face_needs_no_report(
    server: RunningServer, beeping: Path, screenshots: Path
) -> None:
    async with open_demo(server, clip=beeping, screenshots=screenshots) as demo:
        await report_as(demo, replace(PERFECT, glasses=True), [])
        await demo.start()
        assert await demo.page.is_hidden("#report")
        await demo.page.click("#end")
        await demo.wait_state("off")
        await choose(demo, PHOTO.read_bytes())
        text = await demo.page.locator("#report").inner_text()
        assert "A good picture" in text and "glasses" in text
        await demo.shoot("report-perfect")
        await demo.page.locator("#gallery .tile").first.click()
        assert await demo.page.is_hidden("#report")


async def test_pointing_beside_a_face_is_explained(server: RunningServer, beeping: Path) -> None:
    async with open_demo(server, clip=beeping) as demo:
        await report_as(demo, replace(PERFECT, faces=2), [])
        await choose(demo, two_people())
        await demo.page.unroute("**/session")

        async def refuse(route: Route) -> None:
            problem = {"title": "no_face", "status": 422, "code": "no_face", "detail": "no"}
            await route.fulfill(status=422, json=problem)

        await demo.page.route("**/session", refuse)
        await demo.page.click("#report-picture", position={"x": 20, "y": 20})
        assert "no face where you pointed" in await demo.notice()
        await demo.page.unroute("**/session")
        await demo.start()
