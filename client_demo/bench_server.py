"""``livehead bench server``: how long after speech arrives the first frame that speaks it leaves.

A real server (its own process, one worker process) is started on a free port, and the Python client
holds one session with it over the WebSocket, on this machine. The first-frame delay runs from the
moment the first sound of an utterance is pushed to the moment the first frame marked as speaking
has arrived. It includes waiting for the sound of a chunk and its look-ahead, the model, the
encoders, the pacing of the picture that plays meanwhile, and two local sockets. Utterances are
pushed in two ways, alternating: all at once, as a text-to-speech engine does, and in steps of 20 ms
in real time, as a microphone does; the second cannot be faster than the sound itself.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from client_demo.client import ClientSession
from client_demo.frames import ReceivedFrame
from models.errors import LiveheadError
from models.io import console
from models.io.audio import read_speech

CLIP = Path(__file__).parents[1] / "models" / "weights" / "clips" / "hello.wav"
RATE = 16_000
STEP_BYTES = 2 * RATE // 50  # 20 ms of s16le
LOUD = 0.02  # of full scale: speech has begun
READY_TIMEOUT_S = 120.0
SETTLE_S = 2.0  # after the session opens, before the first utterance
UTTERANCE_S = 2.0
PAUSE_S = 1.2  # long enough for the face to come to rest between utterances
ANSWER_TIMEOUT_S = UTTERANCE_S + 10


@dataclass
class Measurements:
    """What one run measured: delays in milliseconds, arrival times in seconds."""

    burst: list[float] = field(default_factory=list)
    live: list[float] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    speaking_since: float | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the bench's options."""
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
    """Start a server, push utterances and receive frames; the record that is printed.

    Raises:
        LiveheadError: the server did not become ready, or an utterance was not answered
            (``not_ready``).
        RequestFailed: the server refuses the session or vanishes.
    """
    pcm = _load_utterance()
    measured = Measurements()
    async with _run_server(model, threads) as (url, server_pid), ClientSession(url) as session:
        receiving = asyncio.create_task(_receive(session, measured), name="receive")
        try:
            await asyncio.sleep(SETTLE_S)
            for number in range(utterances):
                await _speak(session, measured, pcm, live=number % 2 == 1)
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
        status = await session.status()
        memory_mb = _worker_megabytes(server_pid)
    return _record(model, threads, measured, status, memory_mb)


async def _speak(session: ClientSession, measured: Measurements, pcm: bytes, *, live: bool) -> None:
    """Push one utterance, wait for its first speaking frame, then for its end and a pause."""
    measured.speaking_since = None
    began = time.perf_counter()
    if live:
        for start in range(0, len(pcm), STEP_BYTES):
            await session.push(pcm[start : start + STEP_BYTES])
            due = began + (start + STEP_BYTES) / (2 * RATE)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
    else:
        await session.push(pcm)
    await session.commit()
    while measured.speaking_since is None and time.perf_counter() < began + ANSWER_TIMEOUT_S:
        await asyncio.sleep(0.005)
    if measured.speaking_since is None:
        raise LiveheadError("no speaking frame came within 10 s", code="not_ready")
    delays_ms = measured.live if live else measured.burst
    delays_ms.append(1000 * (measured.speaking_since - began))
    await asyncio.sleep(max(0.0, began + UTTERANCE_S + PAUSE_S - time.perf_counter()))


async def _receive(session: ClientSession, measured: Measurements) -> None:
    async for message in session:
        if not isinstance(message, ReceivedFrame):
            continue
        now = time.perf_counter()
        measured.arrivals.append(now)
        if message.speaking and measured.speaking_since is None:
            measured.speaking_since = now


@asynccontextmanager
async def _run_server(model: str, threads: int) -> AsyncIterator[tuple[str, int]]:
    """URL and process id of a server on a free port, which runs as long as the context lasts."""
    command = [sys.executable, "-m", "server.cli", "serve", "--port", "0", "--model", model]
    command += ["--threads", str(threads), "--log-level", "warning"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = await asyncio.wait_for(asyncio.to_thread(_first_line, process), READY_TIMEOUT_S)
        yield line.rsplit(" ", 1)[-1].replace("localhost", "127.0.0.1"), process.pid
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)
        if process.stdout:
            process.stdout.close()


def _first_line(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline().strip() if process.stdout else ""
    if not line:
        raise LiveheadError("the server ended before it was ready", code="not_ready")
    return line


def _load_utterance() -> bytes:
    """Two seconds of a bundled clip as s16le mono at 16 kHz, from its first loud sample on."""
    speech = read_speech(CLIP, RATE)
    first = int(np.argmax(np.abs(speech) > LOUD))
    utterance = speech[first : first + int(UTTERANCE_S * RATE)]
    return (utterance * 32_767).astype("<i2").tobytes()


def _worker_megabytes(server_pid: int) -> float:
    """Resident memory of the server's largest child, its worker (Linux only, else 0)."""
    largest = 0.0
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in path.read_text().splitlines())
        except (OSError, ValueError):
            continue
        if fields.get("PPid", "").strip() == str(server_pid) and "VmRSS" in fields:
            largest = max(largest, int(fields["VmRSS"].split()[0]) / 1024)
    return round(largest, 1)


def _record(
    model: str, threads: int, measured: Measurements, status: dict[str, Any], memory_mb: float
) -> dict[str, Any]:
    gaps_s = np.diff(measured.arrivals)
    metrics = status.get("metrics", {})
    return {
        "bench": "server",
        "model": model,
        "first_frame_ms": {
            "burst": _percentiles(measured.burst),
            "live": _percentiles(measured.live),
        },
        "fps": round(float(1 / gaps_s.mean()), 2),
        "longest_gap_ms": round(1000 * float(gaps_s.max()), 1),
        "ms_per_frame": metrics.get("ms_per_frame"),
        "late_units": metrics.get("late_units"),
        "worker_mb": memory_mb,
        "threads": threads,
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "date": time.strftime("%Y-%m-%d"),
    }


def _percentiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {"p50": 0.0, "p95": 0.0, "n": 0}
    return {
        "p50": round(statistics.median(values), 1),
        "p95": round(float(np.quantile(values, 0.95)), 1),
        "n": len(values),
    }
