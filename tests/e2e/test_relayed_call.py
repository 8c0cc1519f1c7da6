"""A browser that may only use a relay: coturn takes the credentials that the session was given."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from models.io import console
from models.options import ModelOptions
from server.assets import draw_portrait
from server.worker.messages import WorkerConfig
from server.worker.pool import LocalWorkers
from tests.e2e.browser import OFFLINE_FLAG, chromium
from tests.support.server_in_loop import serving
from tests.support.server_process import free_port

pytestmark = pytest.mark.e2e

PATIENCE_S = 60.0
SECRET = "north"
INSTALL_HINT = "apt-get install --no-install-recommends coturn"
CALL = """async ([session, servers]) => {
  const pc = new RTCPeerConnection({ iceServers: servers, iceTransportPolicy: "relay" });
  const errors = [];
  pc.onicecandidateerror = (event) => errors.push(`${event.errorCode} ${event.errorText}`);
  for (const kind of ["video", "audio"]) pc.addTransceiver(kind, { direction: "recvonly" });
  await pc.setLocalDescription(await pc.createOffer());
  const gathered = new Promise((done) => {
    pc.onicegatheringstatechange = () => pc.iceGatheringState === "complete" && done();
  });
  await Promise.race([gathered, new Promise((done) => setTimeout(done, 10000))]);
  const local = pc.localDescription.sdp;
  const relayed = (local.match(/typ relay/g) || []).length;
  const others = (local.match(/typ (host|srflx)/g) || []).length;
  if (!relayed) return { relayed, others, errors };
  const answer = await fetch(session.media.offer_url, {
    method: "POST",
    headers: { Authorization: `Bearer ${session.token}`, "Content-Type": "application/json" },
    body: JSON.stringify({ sdp: local, type: "offer" }),
  });
  await pc.setRemoteDescription(await answer.json());
  for (let k = 0; k < 300; k++) {
    await new Promise((done) => setTimeout(done, 100));
    const stats = [...(await pc.getStats()).values()];
    const video = stats.find((row) => row.type === "inbound-rtp" && row.kind === "video");
    if (video?.framesDecoded < 25 || !video) continue;
    const pair = stats.find((row) => row.type === "candidate-pair" && row.nominated);
    const type = stats.find((row) => row.id === pair.localCandidateId).candidateType;
    pc.close();
    return { relayed, others, errors, type, frames: video.framesDecoded };
  }
  return { relayed, others, errors, state: pc.connectionState };
}"""


@asynccontextmanager
async def coturn(folder: Path) -> AsyncIterator[int]:
    """A relay on this machine's loopback alone; its port. Skips loudly where there is none."""
    program = shutil.which("turnserver")
    if program is None:
        message = f"RELAY TEST SKIPPED: no coturn on this machine. Install it: {INSTALL_HINT}"
        console.warn(message)
        pytest.skip(message)
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        program,
        *("-n", "--no-cli", "--no-tls", "--no-dtls", "--realm=livehead", "--allow-loopback-peers"),
        *("--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", f"--listening-port={port}"),
        *("--use-auth-secret", f"--static-auth-secret={SECRET}"),
        *(f"--pidfile={folder / 'pid'}", f"--log-file={folder / 'turn.log'}", "--simple-log"),
        *(f"--userdb={folder / 'users'}", "--fingerprint"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not listens(port):
                assert process.returncode is None, "coturn ended"
                await asyncio.sleep(0.05)
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def listens(port: int) -> bool:
    """Whether somebody takes connections on a port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


async def test_a_relayed_call_shows_pictures_and_a_wrong_credential_none(tmp_path: Path) -> None:
    workers = LocalWorkers(WorkerConfig(ModelOptions("fake"), warm_portrait=draw_portrait()))
    async with coturn(tmp_path) as port:
        turn: dict[str, Any] = {"turn_urls": (f"turn:127.0.0.1:{port}",), "turn_secret": SECRET}
        async with serving(workers, **turn) as caller, chromium(flags=[OFFLINE_FLAG]) as browser:
            await asyncio.wait_for(workers.wait_ready(), PATIENCE_S)
            context = await browser.new_context(permissions=["microphone"])
            page = await context.new_page()
            await page.goto(f"http://127.0.0.1:{caller.port}/docs")
            session = await caller.create()

            async def call(servers: list[dict[str, Any]]) -> dict[str, Any]:
                found: dict[str, Any] = await page.evaluate(CALL, [session, servers])
                return found

            servers = session["ice_servers"]
            forged = [{**servers[0], "credential": "wrong"}]
            refused = await call(forged)
            assert refused["relayed"] == 0 and "401" in " ".join(refused["errors"]), refused
            relayed = await call(servers)
            assert relayed.get("type") == "relay", relayed
            assert relayed["frames"] >= 25 and relayed["others"] == 0
