"""``livehead bench server``: how long after speech arrives the first frame that speaks it leaves.

What is measured. A real server (its own process, one worker process) is started on a free port and
asked for a session, and audio goes in and units come out over the WebSocket, on this machine. The
first-frame delay runs from the moment the first sound of an utterance is handed to the socket to
the moment the first unit marked as speaking has arrived. It holds: waiting for the sound of a chunk
and its look-ahead, the model, the encoders, the pacing of the picture that plays meanwhile, and two
local sockets. Utterances are pushed in two ways, alternating: all at once, as a text-to-speech
engine does, and in steps of 20 ms in real time, as a microphone does; the second cannot be faster
than the sound itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect

from models.errors import LiveheadError
from models.io import console
from server.media.av_frame import FLAG_SPEAKING, HEADER

RATE = 16_000
STEP = RATE // 50  # 20 ms
READY_TIMEOUT_S = 120.0
UTTERANCE_S = 2.0
PAUSE_S = 1.2  # long enough for the face to come to rest between utterances


@dataclass
class Figures:
    """What one run saw, milliseconds."""

    burst: list[float] = field(default_factory=list)
    live: list[float] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    speaking_since: float | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the bench."""
    parser.add_argument("--model", default="mini", help="generator (default mini)")
    parser.add_argument("--utterances", type=int, default=20, help="how many (default 20)")
    parser.add_argument("--threads", type=int, default=2, help="threads of the worker's model")
    parser.add_argument("--json", action="store_true", help="print only the JSON line")


def run(args: argparse.Namespace) -> int:
    """Measure and print a table, then one JSON object."""
    record = asyncio.run(measure(args.model, args.utterances, args.threads))
    if not args.json:
        first = record["first_frame_ms"]
        console.table(
            ["pushed", "p50 ms", "p95 ms", "n"],
            [[how, first[how]["p50"], first[how]["p95"], first[how]["n"]] for how in first],
        )
        console.say(
            f"{record['fps']:.2f} frames per second, longest gap {record['longest_gap_ms']:.0f} ms,"
            f" worker {record['worker_mb']:.0f} MB, {record['ms_per_frame']} ms per frame"
        )
    console.emit_json(record)
    return 0


async def measure(model: str, utterances: int, threads: int) -> dict[str, Any]:
    """Start a server, push utterances, read units; the record that is printed.

    Raises:
        LiveheadError: the server did not become ready (``not_ready``).
    """
    speech = _speech()
    async with _server(model, threads) as (base, process):
        session = await asyncio.to_thread(_post, f"{base}/session", _first_avatar(base))
        url = base.replace("http", "ws", 1) + f"/session/{session['session_id']}/stream"
        headers = {"Authorization": f"Bearer {session['token']}"}
        figures = Figures()
        async with connect(url + "?video=h264", additional_headers=headers, max_size=None) as ws:
            reader = asyncio.create_task(_read(ws, figures))
            try:
                await asyncio.sleep(2.0)
                for number in range(utterances):
                    await _utter(ws, figures, speech, live=number % 2 == 1)
            finally:
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)
        state = await asyncio.to_thread(_get, f"{base}/session/{session['session_id']}", session)
        memory = _worker_megabytes(process.pid)
    return _record(model, threads, figures, state, memory)


async def _utter(
    ws: ClientConnection, figures: Figures, speech: NDArray[np.int16], *, live: bool
) -> None:
    figures.speaking_since = None
    began = time.perf_counter()
    if live:
        for k in range(0, speech.size, STEP):
            await ws.send(speech[k : k + STEP].tobytes())
            await asyncio.sleep(max(0.0, began + (k + STEP) / RATE - time.perf_counter()))
    else:
        await ws.send(speech.tobytes())
    await ws.send(json.dumps({"type": "input_audio_buffer.commit"}))
    deadline = began + UTTERANCE_S + 10
    while figures.speaking_since is None and time.perf_counter() < deadline:
        await asyncio.sleep(0.005)
    if figures.speaking_since is None:
        raise LiveheadError("no speaking frame came within 10 s", code="not_ready")
    (figures.live if live else figures.burst).append(1000 * (figures.speaking_since - began))
    rest = began + UTTERANCE_S + PAUSE_S - time.perf_counter()
    await asyncio.sleep(max(0.0, rest))


async def _read(ws: ClientConnection, figures: Figures) -> None:
    async for message in ws:
        if isinstance(message, str):
            continue
        now = time.perf_counter()
        figures.arrivals.append(now)
        _, flags, *_ = HEADER.unpack_from(message)
        if flags & FLAG_SPEAKING and figures.speaking_since is None:
            figures.speaking_since = now


@asynccontextmanager
async def _server(model: str, threads: int) -> AsyncIterator[tuple[str, subprocess.Popen[str]]]:
    """A server of our own on a free port, stopped by its own id."""
    command = [sys.executable, "-m", "server.cli", "serve", "--port", "0", "--model", model]
    command += ["--threads", str(threads), "--log-level", "warning"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = await asyncio.wait_for(asyncio.to_thread(_first_line, process), READY_TIMEOUT_S)
        yield line.rsplit(" ", 1)[-1].replace("localhost", "127.0.0.1"), process
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)


def _first_line(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline().strip() if process.stdout else ""
    if not line:
        raise LiveheadError("the server ended before it was ready", code="not_ready")
    return line


def _speech() -> NDArray[np.int16]:
    """Two seconds of the first bundled clip, int16 at 16 kHz; it begins with sound at once."""
    clips = Path(__file__).parents[1] / "models" / "weights" / "clips"
    path = next(iter(sorted(clips.glob("*.wav"))), None)
    if path is None:
        tone = np.sin(2 * np.pi * 220 * np.arange(int(UTTERANCE_S * RATE)) / RATE)
        return (8000 * tone).astype(np.int16)
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("s16", "mono", RATE)
        frames = [r for frame in container.decode(audio=0) for r in resampler.resample(frame)]
    samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    loud = np.flatnonzero(np.abs(samples) > 600)
    first = int(loud[0]) if loud.size else 0
    cut: NDArray[np.int16] = samples[first : first + int(UTTERANCE_S * RATE)].astype(np.int16)
    return cut


def _first_avatar(base: str) -> dict[str, str]:
    avatars = _get(f"{base}/avatars")["avatars"]
    return {"avatar_id": avatars[0]["id"], "mode": "speak"}


def _get(url: str, session: dict[str, Any] | None = None) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {session['token']}"} if session else {}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
        record: dict[str, Any] = json.load(answer)
    return record


def _post(url: str, body: dict[str, str]) -> dict[str, Any]:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        record: dict[str, Any] = json.load(answer)
    return record


def _worker_megabytes(server: int) -> float:
    """Resident memory of the server's largest child, its worker (Linux only, else 0)."""
    largest = 0.0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        except (OSError, ValueError):
            continue
        if fields.get("PPid", "").strip() == str(server) and "VmRSS" in fields:
            largest = max(largest, int(fields["VmRSS"].split()[0]) / 1024)
    return round(largest, 1)


def _record(
    model: str, threads: int, figures: Figures, state: dict[str, Any], memory: float
) -> dict[str, Any]:
    gaps = np.diff(figures.arrivals)
    metrics = state.get("metrics", {})
    return {
        "bench": "server",
        "model": model,
        "first_frame_ms": {"burst": _spread(figures.burst), "live": _spread(figures.live)},
        "fps": round(float(1 / gaps.mean()), 2),
        "longest_gap_ms": round(1000 * float(gaps.max()), 1),
        "ms_per_frame": metrics.get("ms_per_frame"),
        "late_units": metrics.get("late_units"),
        "worker_mb": memory,
        "threads": threads,
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "date": time.strftime("%Y-%m-%d"),
    }


def _spread(values: list[float]) -> dict[str, float]:
    if not values:
        return {"p50": 0.0, "p95": 0.0, "n": 0}
    return {
        "p50": round(statistics.median(values), 1),
        "p95": round(float(np.quantile(values, 0.95)), 1),
        "n": len(values),
    }
