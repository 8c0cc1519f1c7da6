"""Runs the server for tests in its own process, on a free port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
READY_S = 120.0  # a loaded machine imports slowly
STOP_S = 20.0


@dataclass(frozen=True)
class RunningServer:
    """URL of a running server, and the file that its log goes to."""

    url: str
    log: Path


@contextmanager
def running_server(
    folder: Path,
    *,
    model: str = "fake",
    size: int | None = None,
    module: str = "server.cli",
    environment: Mapping[str, str] | None = None,
) -> Iterator[RunningServer]:
    """Run ``livehead serve`` in a context; wait until it is ready.

    Args:
        folder: that its log goes to.
        size: side of the pictures; None for the model's own, 256 of the fake one.
        module: that runs as ``livehead``.
    """
    port = free_port()
    command = [sys.executable, "-m", module, "serve", "--model", model, "--port", str(port)]
    size = size or (256 if model == "fake" else None)
    command += ["--size", str(size)] if size else []
    log = folder / f"server-{port}.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        try:
            server = RunningServer(f"http://localhost:{port}", log)
            _wait_ready(server, process)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.create_server(("localhost", 0)) as listener:
        number: int = listener.getsockname()[1]
        return number


def _wait_ready(server: RunningServer, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{server.url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"the server is not ready; it wrote:\n{server.log.read_text()[-4000:]}")
