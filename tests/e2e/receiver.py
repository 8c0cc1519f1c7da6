"""``scripts/receiver``: what a person receives, by flash and beep in headless Chromium.

A server of its own speaks a beep a second, pushed through the session's WebSocket, in a call to a
page (``receiver.html``) that notes pictures and sound; ``tests/e2e/skew.py`` says how these are
compared. All datagrams of the call pass ``tests/e2e/lossy_relay.py``, which loses a share of them.
Server, relay and browser share this machine: a busy one shows in every number.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from client_demo.rest import Rest
from models.bench.timing import hardware
from models.errors import LiveheadError
from models.io import console
from tests.e2e.browser import INSTALL_HINT, chromium, chromium_path, open_page
from tests.e2e.lossy_relay import LossyRelay, without_candidates
from tests.e2e.skew import aims, measured
from tests.support.beeps import PERIOD_S, RATE, beeps
from tests.support.server_process import running_server

HTML = Path(__file__).with_name("receiver.html").read_text("utf-8")
SERVERS = {"fake": "server.cli", "mini": "tests.support.marked"}
SETTLE_S = 60.0
"""In which Chromium moves pictures to their sound, by steps of 15 ms, some 5 to 10 s apart."""
AHEAD_S = 3.0  # of what is heard; far less than the server keeps
STARTED_MS = 30_000
FIGURES = ("packetsLost", "concealedSamples", "totalSamplesReceived", "fecPacketsReceived")
PICTURE_FIGURES = ("packetsLost", "nackCount", "pliCount", "framesDropped", "freezeCount")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print tables, then one JSON object; 2 for a wrong call."""
    parser = argparse.ArgumentParser(prog="scripts/receiver", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="default %(default)s")
    parser.add_argument("--loss", type=float, default=0.0, metavar="PERCENT", help="of datagrams")
    parser.add_argument("--model", choices=SERVERS, default="fake", help="default %(default)s")
    parser.add_argument("--size", type=int, help="side of the picture, pixels")
    parser.add_argument(
        "--settle",
        type=float,
        default=SETTLE_S,
        metavar="SECONDS",
        help="at the start that are told apart (default %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    args = parser.parse_args(arguments)
    if not 0 <= args.loss < 100:
        parser.error(f"expected --loss of 0 to less than 100 percent, got {args.loss:g}")
    if args.settle < 0 or 60 * args.minutes < args.settle + 5 * PERIOD_S:
        parser.error(
            f"expected --minutes that leave 5 s after --settle, got {60 * args.minutes:g} s"
            f" and {args.settle:g} s; measure longer"
        )
    path = chromium_path()
    if path is None or not path.exists():
        parser.error(f"expected a Chromium, found none; install it: {INSTALL_HINT}")
    try:
        record = asyncio.run(
            bench(60 * args.minutes, args.loss / 100, args.model, args.size, args.settle)
        )
    except (LiveheadError, ValueError, RuntimeError) as error:
        console.warn(f"scripts/receiver: {error}")
        return 1
    if not args.json:
        show(record)
    console.emit_json(record)
    return 0


async def bench(
    seconds: float, loss: float, model: str, size: int | None, settle_s: float
) -> dict[str, Any]:
    """Run a server, call it, and watch; the record to print.

    Args:
        seconds: of beeps.
        loss: share of datagrams, 0..1.
        size: side of the pictures; None for the model's own.

    Raises:
        ValueError: too little was seen or heard.
        RequestFailed: the server refuses the session.
    """
    lives = {"LIVEHEAD_MAX_DURATION_S": str(seconds + 120)}
    with tempfile.TemporaryDirectory() as folder:
        module = SERVERS[model]
        with running_server(
            Path(folder), model=model, module=module, size=size, environment=lives
        ) as server:
            seen, relay, version = await watch(server.url, seconds, loss)
    record: dict[str, Any] = {
        "bench": "receiver",
        "model": model,
        "size": seen["size"],
        "minutes": round(seconds / 60, 2),
        **measured(seen, settle_s),
        "loss_percent": {"asked": 100 * loss, "dropped": round(100 * relay.share, 2)},
        "datagrams": {"taken": relay.taken, "dropped": relay.dropped},
        "chromium": chromium_figures(seen["stats"]),
        "chromium_version": version,
    }
    found = aims(record)
    return {**record, "holds": {name: holds for name, (_, _, holds) in found.items()}} | hardware()


async def watch(url: str, seconds: float, loss: float) -> tuple[dict[str, Any], LossyRelay, str]:
    """What the page saw of a call; the relay; Chromium's version."""
    rest = Rest(url)
    ticket = await rest.create(None, None, "speak")
    async with (
        httpx.AsyncClient(base_url=url, headers=ticket.headers) as http,
        connect(rest.stream_url(ticket, "none"), max_size=None, ping_interval=None) as socket,
        LossyRelay(loss) as relay,
        chromium() as browser,
    ):

        async def answer(offer: str) -> str:
            body = {"type": "offer", "sdp": without_candidates(offer)}
            answered = await http.post(f"session/{ticket.session_id}/offer", json=body)
            answered.raise_for_status()
            return relay.take(answered.json()["sdp"])

        page = await open_page(browser, HTML)
        await page.expose_function("answer", answer)
        reading = asyncio.create_task(read(socket), name="read")
        try:
            await page.evaluate("call()")
            await page.wait_for_function("seen.frames.length > 5", timeout=STARTED_MS)
            await push(socket, seconds)
            await asyncio.sleep(AHEAD_S)
            seen: dict[str, Any] = await page.evaluate(
                "({ ...seen, size: [video.videoHeight, video.videoWidth] })"
            )
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        return seen, relay, browser.version


async def push(socket: ClientConnection, seconds: float) -> None:
    """Push beeps as they are spoken, ``AHEAD_S`` ahead."""
    form = {"type": "session.update", "audio": {"sample_rate": RATE, "channels": 1}}
    await socket.send(json.dumps(form))
    second = beeps(PERIOD_S).tobytes()
    began = time.monotonic()
    for k in range(round(seconds / PERIOD_S)):
        await socket.send(second)
        await asyncio.sleep(max(0.0, began + k * PERIOD_S - time.monotonic() - AHEAD_S))
    await socket.send(json.dumps({"type": "input_audio_buffer.commit"}))


async def read(socket: ClientConnection) -> None:
    """Take what the server sends beside the call; one who does not is disconnected."""
    async for _ in socket:
        pass


def chromium_figures(stats: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What Chromium itself counted until the end, by kind."""
    last = stats[-1]
    figures = {"audio": FIGURES, "video": PICTURE_FIGURES}
    return {
        kind: {name: last[kind].get(name, 0) for name in names} for kind, names in figures.items()
    }


def show(record: dict[str, Any]) -> None:
    """Print tables for people."""
    rows = [
        [name, record[name]["p50"], record[name]["p95"], record[name]["max"]]
        for name in ("skew_ms", "as_shown_ms")
    ]
    console.table(["sound after picture", "p50", "|p95|", "|max|"], rows)
    shown, start, loss = record["picture"], record["start"], record["loss_percent"]
    console.say(
        f"{shown['fps']:.2f} pictures a second shown, longest gap {shown['longest_gap_ms']:.0f} ms,"
        f" {shown['freezes']} over 200 ms, {shown['left_out']} left out, {shown['unread']} unread;"
        f" {record['n']} beeps, {record['alone']} without a flash;"
        f" {loss['dropped']:.2f} % of {record['datagrams']['taken']} datagrams dropped"
    )
    console.say(
        f"not judged: the first {start['seconds']:g} s, up to {start['max_ms']:.0f} ms apart,"
        f" over 25 ms until {start['apart_until_s']:g} s"
    )
    if not record["kept_pace"]:
        console.say("THE MACHINE DID NOT KEEP PACE: beeps may be compared with flashes not theirs")
    console.table(
        ["aim", "asked", "measured", ""],
        [
            [name, asked, value, "holds" if holds else "misses"]
            for name, (asked, value, holds) in aims(record).items()
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
