"""Runs a server of the bench's own, in a process of its own, on a free port.

Variables ``LIVEHEAD_*`` of the caller do not reach it, and its added avatars are kept in a folder
that is removed: what is measured is what the bench's options say.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from client_demo.bench_server.processes import NOTHING, Usage, children_of, usage_of
from models.errors import LiveheadError

READY_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 20.0
EMPTY_TIMEOUT_S = 60.0
OWN_VARIABLES = "LIVEHEAD_"
TASKS = "livehead_tasks"


@dataclass(frozen=True)
class BenchedServer:
    """Where a running server is reached, and its gateway's process."""

    url: str
    pid: int

    def gateway(self) -> Usage:
        """What the gateway's process uses."""
        return usage_of(self.pid)

    def workers(self) -> Usage:
        """What the processes that the gateway started use, together."""
        return sum((usage_of(pid) for pid in children_of(self.pid)), NOTHING)

    def readiness(self) -> dict[str, int]:
        """Sessions that are open, places, and how many sessions were measured to fit."""
        answer = httpx.get(f"{self.url}/readyz", timeout=READY_TIMEOUT_S).raise_for_status()
        return {name: int(value) for name, value in answer.json().items() if name != "status"}

    def tasks(self) -> int:
        """Tasks of the gateway's event loop, as it tells Prometheus."""
        answer = httpx.get(f"{self.url}/metrics", timeout=READY_TIMEOUT_S).raise_for_status()
        told = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if line[:1] != "#")
        return int(float(told[TASKS]))

    def wait_empty(self) -> int:
        """Wait until no session is open; how many still are after ``EMPTY_TIMEOUT_S``."""
        deadline = time.monotonic() + EMPTY_TIMEOUT_S
        while (left := self.readiness()["sessions"]) and time.monotonic() < deadline:
            time.sleep(0.2)
        return left


@contextmanager
def run_server(
    flags: Sequence[str], environment: Mapping[str, str] | None = None
) -> Iterator[BenchedServer]:
    """A server that runs as long as the context lasts.

    Args:
        flags: options of ``livehead serve``.
        environment: variables ``LIVEHEAD_*`` for it.

    Raises:
        LiveheadError: it did not become ready (``not_ready``); it has said why.
    """
    command = [sys.executable, "-m", "server.cli", "serve", "--port", "0"]
    command += ["--log-level", "error", *flags]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(OWN_VARIABLES)}
    with tempfile.TemporaryDirectory(prefix="livehead-bench-") as folder:
        own = {"LIVEHEAD_AVATARS_DIR": folder, **(environment or {})}
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**inherited, **own}
        )
        try:
            url = _first_line(process).rsplit(" ", 1)[-1].replace("localhost", "127.0.0.1")
            yield BenchedServer(url, process.pid)
        finally:
            _stop(process)


def _first_line(process: subprocess.Popen[str]) -> str:
    """What a server says when it is ready."""
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], READY_TIMEOUT_S)
    line = process.stdout.readline().strip() if readable else ""
    if not line:
        what = "it ended" if readable else "it is not"
        raise LiveheadError(
            f"expected a server that is ready within {READY_TIMEOUT_S:.0f} s, got that {what};"
            " start it by `livehead serve` with the same options to see why",
            code="not_ready",
        )
    return line


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()
