"""The ``serve`` command as a process: ready when warm, gone in good order, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from pathlib import Path

import pytest

import server
from server import cli
from server.serve import listen
from tests.support.processes import alive, wait_dead

pytestmark = pytest.mark.unit

PATIENCE_S = 60.0


async def start(*options: str) -> asyncio.subprocess.Process:
    """``livehead serve`` on a free port with the fake model."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server.cli", "serve", "--model", "fake", "--port", "0", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(server.__file__).parent.parent,
    )


def children(pid: int) -> list[int]:
    """Processes that a process started."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for listed in lists for child in listed.read_text().split()]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_it_says_when_it_is_warm_and_stops_when_told(how: signal.Signals) -> None:
    process = await start("--max-sessions", "3")
    assert process.stdout is not None and process.stderr is not None
    line = (await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)).decode()
    found = re.fullmatch(r"Livehead is ready for 3 sessions: http://localhost:(\d+)\n", line)
    assert found is not None, line
    with socket.create_connection(("127.0.0.1", int(found[1])), timeout=10):
        offspring = children(process.pid)
        assert offspring and all(alive(pid) for pid in offspring)
        os.kill(process.pid, how)
    _, errors = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert b"Traceback" not in errors and process.returncode == 0
    for pid in offspring:
        await wait_dead(pid, PATIENCE_S)


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["serve", "--model", "fake", "--port", str(port)]) == 1
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "box.example"])
def test_nobody_is_let_in_from_elsewhere_without_a_key(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["serve", "--model", "fake", "--host", host]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert host in line and "LIVEHEAD_API_KEY" in line and "LIVEHEAD_ALLOW_ANYONE=true" in line


async def test_told_so_it_lets_anyone_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEHEAD_ALLOW_ANYONE", "true")
    process = await start("--host", "0.0.0.0")
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)).decode()
    assert "Livehead is ready" in line
    process.terminate()
    await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 0


def test_connections_send_at_once_and_notice_a_peer_that_is_gone() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
@pytest.mark.parametrize("host", ["::", "[::]"])
def test_every_address_means_both_kinds(host: str) -> None:
    with listen(host, 0) as listener:
        port = listener.getsockname()[1]
        for address in ("127.0.0.1", "::1"):
            socket.create_connection((address, port), timeout=10).close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_names_and_addresses_of_the_older_kind(host: str) -> None:
    with listen(host, 0) as listener:
        socket.create_connection(("127.0.0.1", listener.getsockname()[1]), timeout=10).close()
