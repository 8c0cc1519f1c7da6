"""The page with the bundled model: the mouth moves while speech plays and rests after it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median

import httpx
import pytest

from models.io import console
from tests.e2e.browser import require_chromium
from tests.e2e.demo import open_demo
from tests.support.server_process import ROOT, RunningServer, running_server

pytestmark = pytest.mark.e2e

WEIGHTS = ROOT / "models" / "weights" / "mini" / "mini.json"
LIVELIER = 2.0  # speaking against resting

WATCH_MOUTH = """
addEventListener("DOMContentLoaded", () => {
  const video = document.getElementById("face-video");
  const pen = new OffscreenCanvas(256, 256).getContext("2d", { willReadFrequently: true });
  window.mouth = { talking: [], resting: [] };
  let before = null;
  let restingSince = null;
  const shown = (now) => {
    pen.drawImage(video, 0, 0, 256, 256);
    const box = pen.getImageData(76, 150, 104, 80).data; // the lower face
    let sum = 0;
    if (before) for (let k = 0; k < box.length; k += 1) sum += Math.abs(box[k] - before[k]);
    const talking = window.livehead?.state === "talking";
    if (talking) restingSince = null;
    else restingSince ??= now;
    const moved = sum / box.length;
    if (before && talking) window.mouth.talking.push(moved);
    if (before && restingSince && now - restingSince > 600) window.mouth.resting.push(moved);
    before = box;
    video.requestVideoFrameCallback(shown);
  };
  video.requestVideoFrameCallback(shown);
});
"""


@pytest.fixture(scope="module")
def mini_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with the bundled model; skips loudly without its weights or a clip."""
    require_chromium()
    if not WEIGHTS.exists():
        skip("no bundled weights of mini in models/weights/mini")
    with running_server(tmp_path_factory.mktemp("mini"), model="mini") as running:
        if not httpx.get(f"{running.url}/clips").json()["clips"]:
            skip("no bundled clips in models/weights/clips")
        yield running


def skip(why: str) -> None:
    """Skip, and say so where it is seen."""
    message = f"PAGE TEST WITH THE BUNDLED MODEL SKIPPED: {why}"
    console.warn(message)
    pytest.skip(message)


async def test_the_mouth_moves_while_it_speaks_and_rests_after(
    mini_server: RunningServer, screenshots: Path
) -> None:
    async with open_demo(mini_server, scripts=[WATCH_MOUTH], screenshots=screenshots) as demo:
        await demo.start()
        await demo.wait_state("talking")
        await demo.page.wait_for_timeout(1200)
        await demo.shoot("mini-talking")
        await demo.until("livehead.state === 'idle'", 90_000)
        await demo.page.wait_for_timeout(4000)
        await demo.shoot("mini-idle")
        mouth = await demo.page.evaluate("mouth")
        talking, resting = median(mouth["talking"]), median(mouth["resting"])
        console.say(
            f"mouth moves {talking:.2f} talking, {resting:.2f} resting;"
            f" {await demo.value('fps'):.1f} fps, delay {await demo.value('delayMs'):.0f} ms"
        )
        assert len(mouth["talking"]) > 20 and len(mouth["resting"]) > 20
        assert talking > LIVELIER * resting
        assert await demo.page.is_hidden("#notice")
