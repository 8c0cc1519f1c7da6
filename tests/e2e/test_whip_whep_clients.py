"""WHIP and WHEP with clients that nobody here wrote: FFmpeg's muxer, npm's whip-whep, GStreamer.

FFmpeg comes with PyAV. For npm's, ``npm install whip-whep@1.2.0 @roamhq/wrtc@0.10.0`` in any
folder and name its node_modules in LIVEHEAD_NODE_MODULES. GStreamer's packages (``GSTREAMER_HINT``)
take 180 MB of disk and most of a minute to install, so scripts/system leaves them out.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from playwright.sync_api import Route, sync_playwright
from websockets.asyncio.client import ClientConnection, connect

from client_demo.frames import unpack
from models.io import console
from tests.e2e.browser import FLAGS, require_chromium
from tests.support.server_process import RunningServer, running_server

pytestmark = pytest.mark.e2e

NODE_MODULES = os.environ.get("LIVEHEAD_NODE_MODULES", "")
GSTREAMER = ("/usr/bin/python3", str(Path(__file__).with_name("gstreamer_client.py")))
GSTREAMER_MISSING = 77  # the script's exit status
GSTREAMER_HINT = (
    "apt-get install --no-install-recommends gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
    " gstreamer1.0-plugins-bad gstreamer1.0-nice python3-gst-1.0 gir1.2-gst-plugins-bad-1.0"
)
WATCH = """
async ({url, token}) => {
  const { WHEPClient } = await import("/whep.js");
  const pc = new RTCPeerConnection();
  pc.addTransceiver("audio", {direction: "recvonly"});
  pc.addTransceiver("video", {direction: "recvonly"});
  pc.ontrack = ({track}) => {
    const element = document.createElement(track.kind);
    Object.assign(element, {muted: true, autoplay: true, srcObject: new MediaStream([track])});
    document.body.append(element);
  };
  const client = new WHEPClient();
  await client.view(pc, url, token);
  const end = Date.now() + 60000;
  let seen = {frames: 0};
  while (seen.frames < 50 && Date.now() < end) {
    await new Promise(done => setTimeout(done, 200));
    (await pc.getStats()).forEach(row => {
      if (row.type === "inbound-rtp" && row.kind === "video")
        seen = {frames: row.framesDecoded || 0, width: row.frameWidth};
    });
  }
  await client.stop();
  return seen;
}
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with the fake model."""
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


def need_node_modules() -> Path:
    """The folder of npm's packages, or a skip that says how to get one."""
    if not (Path(NODE_MODULES) / "whip-whep" / "whep.js").exists():
        pytest.skip("no npm clients; set LIVEHEAD_NODE_MODULES, see this file's first lines")
    return Path(NODE_MODULES)


@pytest.fixture(scope="module")
def gstreamer() -> tuple[str, ...]:
    """The command of GStreamer's client, or a skip that says loudly how to get one."""
    try:
        found = subprocess.run(GSTREAMER, capture_output=True, text=True, timeout=120, check=False)
        status, told = found.returncode, found.stderr
    except FileNotFoundError as error:
        status, told = GSTREAMER_MISSING, str(error)
    if status == GSTREAMER_MISSING:
        message = f"GSTREAMER TESTS SKIPPED: {told.strip()}. Install it: {GSTREAMER_HINT}"
        console.warn(message)
        pytest.skip(message)
    assert status == 0, told
    return GSTREAMER


def create(server: RunningServer, mode: str) -> dict[str, Any]:
    """A new session."""
    answer = httpx.post(f"{server.url}/session", json={"avatar_id": "ada", "mode": mode})
    described: dict[str, Any] = answer.raise_for_status().json()
    return described


def stream_of(server: RunningServer, session: dict[str, Any]) -> str:
    """The URL of its WebSocket."""
    url = f"{server.url}{session['media']['ws_url']}?token={session['token']}"
    return url.replace("http", "ws", 1)


def end(server: RunningServer, session: dict[str, Any]) -> None:
    """End it."""
    headers = {"Authorization": f"Bearer {session['token']}"}
    httpx.delete(f"{server.url}/session/{session['session_id']}", headers=headers)


def write_certificate(folder: Path) -> dict[str, str]:
    """A certificate of the curve that both ends take, as the muxer's options."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "whip")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(now - datetime.timedelta(1))
    signed = builder.not_valid_after(now + datetime.timedelta(30)).sign(key, hashes.SHA256())
    plain = serialization.PrivateFormat.TraditionalOpenSSL
    pem = serialization.Encoding.PEM
    files = {"cert_file": folder / "cert.pem", "key_file": folder / "key.pem"}
    files["cert_file"].write_bytes(signed.public_bytes(pem))
    files["key_file"].write_bytes(key.private_bytes(pem, plain, serialization.NoEncryption()))
    return {name: str(path) for name, path in files.items()}


def publish(url: str, options: dict[str, str], seconds: float) -> None:
    """Push a tone and a grey picture with FFmpeg's WHIP muxer, as they are spoken."""
    with av.open(url, "w", format="whip", options=options) as container:
        video = container.add_stream("libx264", rate=25, options={"tune": "zerolatency", "bf": "0"})
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = 128, 128, "yuv420p"
        video.profile = "Baseline"
        sound = container.add_stream("libopus", rate=48_000, layout="stereo")
        assert isinstance(sound, av.AudioStream)
        began = time.monotonic()
        for number in range(round(50 * seconds)):
            moments = (number * 960 + np.arange(960)) / 48_000
            pcm = (8_000 * np.sin(2 * np.pi * 440 * moments)).astype(np.int16).repeat(2)
            heard = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="stereo")
            heard.sample_rate, heard.pts, heard.time_base = (
                48_000,
                number * 960,
                Fraction(1, 48_000),
            )
            container.mux(sound.encode(heard))
            if number % 2 == 0:
                grey = np.full((192, 128), 90, np.uint8)
                picture = av.VideoFrame.from_ndarray(grey, format="yuv420p")
                picture.pts, picture.time_base = number // 2, Fraction(1, 25)
                container.mux(video.encode(picture))
            time.sleep(max(0.0, began + number / 50 - time.monotonic()))


async def hear_spoken(socket: ClientConnection) -> None:
    """Watch the avatar until it has said what is loud, its mouth in motion."""
    loud, spoken = 0, 0
    async with asyncio.timeout(60):
        while loud < 25:
            message = await socket.recv()
            if not isinstance(message, bytes):
                continue
            frame = unpack(message)
            spoken += frame.speaking
            loud += int(np.abs(np.frombuffer(frame.pcm, np.int16).astype(int)).max()) > 4_000
    assert spoken >= 25


@pytest.mark.parametrize("flags", [{}, {"whip_flags": "dtls_active"}], ids=["passive", "active"])
async def test_what_ffmpeg_publishes_is_spoken(
    whole: RunningServer, tmp_path: Path, flags: dict[str, str]
) -> None:
    session = create(whole, "echo")
    options = {**write_certificate(tmp_path), "authorization": session["token"], **flags}
    url = whole.url + session["media"]["whip_url"]
    async with connect(stream_of(whole, session), max_size=None) as socket:
        publishing = asyncio.create_task(asyncio.to_thread(publish, url, options, 6.0))
        await hear_spoken(socket)
        await publishing
    end(whole, session)


def test_npms_viewer_in_node_sees_vp8(whole: RunningServer) -> None:
    folder, node = need_node_modules(), shutil.which("node")
    if node is None or not (folder / "@roamhq" / "wrtc").exists():
        pytest.skip("no node or no @roamhq/wrtc; see this file's first lines")
    session = create(whole, "speak")
    script = Path(__file__).with_name("whep_client.mjs")
    url = whole.url + session["media"]["whep_url"]
    command = [node, str(script), str(folder), url, session["token"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["frames"] >= 50 and seen["width"] == 256 and seen["sounds"] > 50
    end(whole, session)


def test_npms_viewers_in_chromium_share_a_session(whole: RunningServer) -> None:
    module = (need_node_modules() / "whip-whep" / "whep.js").read_text()

    def serve(route: Route) -> None:
        route.fulfill(body=module, content_type="text/javascript")

    session = create(whole, "speak")
    options = {"url": whole.url + session["media"]["whep_url"], "token": session["token"]}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=require_chromium(), args=FLAGS)
        for _ in range(2):
            page = browser.new_page()
            page.route(
                "**/whep.js",
                lambda route: route.fulfill(body=module, content_type="text/javascript"),
            )
            page.goto(f"{whole.url}/healthz")
            seen = page.evaluate(WATCH, options)
            assert seen["frames"] >= 50 and seen["width"] == 256
        browser.close()
    end(whole, session)


@pytest.mark.parametrize(
    ("candidates", "codec"), [("trickled", "H264"), ("gathered", "VP8")], ids=["h264", "vp8"]
)
def test_gstreamer_decodes_what_it_views(
    whole: RunningServer, gstreamer: tuple[str, ...], candidates: str, codec: str
) -> None:
    session = create(whole, "speak")
    url = whole.url + session["media"]["whep_url"]
    command = [*gstreamer, "whep", url, session["token"], candidates, codec]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["frames"] >= 50 and seen["width"] == 256 and seen["sounds"] >= 50
    assert seen["state"] == "connected" and seen["deleted"] == 200
    assert (seen["trickled"] > 0) == (candidates == "trickled")
    end(whole, session)


@pytest.mark.parametrize("candidates", ["trickled", "gathered"])
async def test_what_gstreamer_publishes_is_spoken(
    whole: RunningServer, gstreamer: tuple[str, ...], candidates: str
) -> None:
    session = create(whole, "echo")
    url = whole.url + session["media"]["whip_url"]
    pipe = asyncio.subprocess.PIPE
    async with connect(stream_of(whole, session), max_size=None) as socket:
        publishing = await asyncio.create_subprocess_exec(
            *(*gstreamer, "whip", url, session["token"], candidates),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
        )
        try:
            await hear_spoken(socket)
        finally:
            told, errors = await publishing.communicate(b"")  # the end of its input: hang up
    assert publishing.returncode == 0, errors.decode()
    seen = json.loads(told.splitlines()[-1])
    assert seen["state"] == "connected" and seen["deleted"] == 200
    assert (seen["trickled"] > 0) == (candidates == "trickled")
    end(whole, session)
