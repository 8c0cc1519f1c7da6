"""Real worker processes: frames arrive, a crash is noticed and mended, nothing is left behind."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import server
from models.errors import PortraitError
from models.options import ModelOptions
from server.assets import draw_portrait
from server.errors import NotReady, ServerError, WorkerLost
from server.session.workers import ChunkResult, IdentityHandle
from server.worker.link import WorkerLink
from server.worker.messages import WorkerConfig, WorkerReady
from server.worker.pool import LocalStream, LocalWorkers
from server.worker.timeouts import Timeouts
from tests.server.worker.test_worker import request
from tests.support.clock import ManualClock
from tests.support.processes import alive, open_files, wait_dead
from tests.support.workers import SPEC

pytestmark = pytest.mark.unit

PATIENCE_S = 60.0
FAKE = ModelOptions("fake", size=SPEC.size)


class Basket:
    """Callbacks that collect."""

    def __init__(self) -> None:
        self.chunks: asyncio.Queue[ChunkResult] = asyncio.Queue()
        self.ended: asyncio.Queue[str] = asyncio.Queue()

    def on_chunk(self, chunk: ChunkResult) -> None:
        """Keep a chunk."""
        self.chunks.put_nowait(chunk)

    def on_lost(self, code: str, message: str) -> None:
        """Keep the reason."""
        self.ended.put_nowait(code)

    async def next(self) -> ChunkResult:
        """The next chunk."""
        return await asyncio.wait_for(self.chunks.get(), PATIENCE_S)


@pytest.fixture
async def workers() -> AsyncIterator[LocalWorkers]:
    workers = LocalWorkers(WorkerConfig(FAKE))
    await workers.start()
    await asyncio.wait_for(workers.wait_ready(), PATIENCE_S)
    yield workers
    pids = workers.pids
    await workers.aclose()
    assert not any(alive(pid) for pid in pids)


async def test_there_are_as_many_processes_as_the_first_finds_useful(
    workers: LocalWorkers,
) -> None:
    assert len(workers.pids) == 1  # of a model without threads to choose
    workers._count = 0
    ready = WorkerReady(SPEC, 4, useful_workers=3)
    workers._receive(workers._slots[0], ready)
    assert len(workers.status()) == 3 and workers.warm_count == 1
    await asyncio.wait_for(workers.wait_ready(), PATIENCE_S)
    assert workers.warm_count == 3 and workers.capacity == 12
    workers._receive(workers._slots[1], ready)  # a replacement finds the same, and adds none
    assert len(workers.status()) == 3


async def test_a_process_serves_two_sessions_and_restarts_after_a_crash(
    workers: LocalWorkers,
) -> None:
    assert workers.ready and workers.spec == SPEC
    assert workers.capacity == 4  # one batch, as nothing was measured
    identity = await workers.prepare(draw_portrait())
    baskets, streams = {"a": Basket(), "b": Basket()}, {}
    for name, basket in baskets.items():
        streams[name] = await workers.open(name, identity, basket)
        streams[name].submit(request(0))
    for name, basket in baskets.items():
        chunk = await basket.next()
        assert chunk.session == name and chunk.frames[0].keyframe

    with pytest.raises(PortraitError) as refused:
        await workers.prepare(b"not a picture")
    assert refused.value.code == "bad_image"
    with pytest.raises(ServerError):
        await workers.open("c", IdentityHandle(0, "unknown"), Basket())

    (pid,) = workers.pids
    restarts: list[int] = []
    workers._on_restart = lambda: restarts.append(pid)
    asking = asyncio.create_task(workers.prepare(draw_portrait(300)))
    os.kill(pid, signal.SIGKILL)
    for basket in baskets.values():
        assert await asyncio.wait_for(basket.ended.get(), PATIENCE_S) == "worker_lost"
    await asyncio.gather(asking, return_exceptions=True)
    if not workers.ready:
        assert workers.capacity == 0
        with pytest.raises((NotReady, WorkerLost)):
            await workers.prepare(draw_portrait())
    streams["a"].submit(request(1))
    await asyncio.wait_for(workers.wait_ready(), PATIENCE_S)
    assert workers.pids != [pid]
    assert workers.warm_count == 1 and restarts == [pid]

    basket = Basket()
    stream = await workers.open("d", await workers.prepare(draw_portrait()), basket)
    stream.submit(request(0))
    await basket.next()
    stream.close()
    stream.close()


PARENT = """
import asyncio
from models.options import ModelOptions
from server.worker.pool import LocalWorkers
from server.worker.messages import WorkerConfig

async def main():
    workers = LocalWorkers(WorkerConfig(ModelOptions("fake")))
    await workers.start()
    await workers.wait_ready()
    print(*workers.pids, flush=True)
    await asyncio.sleep(60)

if __name__ == "__main__":
    asyncio.run(main())
"""


async def test_the_child_ignores_ctrl_c_and_dies_with_its_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(server.__file__).parent.parent)},
    )
    assert parent.stdout is not None
    child = int(await asyncio.wait_for(parent.stdout.readline(), PATIENCE_S))
    os.kill(child, signal.SIGINT)
    await asyncio.sleep(0.2)
    assert alive(child)
    parent.kill()
    await parent.wait()
    await wait_dead(child, PATIENCE_S)


async def test_a_model_that_cannot_be_started_is_reported() -> None:
    workers = LocalWorkers(WorkerConfig(ModelOptions("nonsense")))
    await workers.start()
    with pytest.raises(WorkerLost, match="nonsense"):
        await asyncio.wait_for(workers.wait_ready(), PATIENCE_S)
    with pytest.raises(NotReady):
        await workers.prepare(draw_portrait())
    await workers.aclose()


async def test_room_is_measured_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "server.worker.pool")
    workers = LocalWorkers(
        WorkerConfig(ModelOptions("fake", size=(256, 256)), warm_portrait=draw_portrait())
    )
    slot = workers._slots[0]
    slot.capacity = 1000  # as if it had been measured before a crash, beside fewer sessions
    await workers.start()
    await asyncio.wait_for(workers.wait_ready(), PATIENCE_S)
    assert workers.capacity == 1000
    await workers.aclose()
    assert "chunk of 160 ms takes" in caplog.text and workers.capacity == 0


def test_a_model_that_is_too_slow_is_said_loudly(caplog: pytest.LogCaptureFixture) -> None:
    workers = LocalWorkers(WorkerConfig(FAKE))
    workers._receive(workers._slots[0], WorkerReady(SPEC, 1, alone_s=0.3))
    assert [(r.levelname, "takes 300 ms" in r.message) for r in caplog.records] == [
        ("WARNING", True)
    ]


async def test_callers_who_come_together_are_spread_over_the_workers() -> None:
    workers = LocalWorkers(WorkerConfig(FAKE), count=2)
    for slot in workers._slots:
        workers._receive(slot, WorkerReady(SPEC, 1))
    assert workers.capacity == 2
    first, second = workers._slots
    first.requests[1] = asyncio.get_running_loop().create_future()  # somebody's portrait
    assert workers._least_busy() is second
    second.streams["a"] = LocalStream(second, "a", Basket(), ManualClock())
    first.requests.clear()
    assert workers._least_busy() is first


async def replaced(workers: LocalWorkers, clock: ManualClock, pid: int) -> None:
    """Return when another process is warm."""
    async with asyncio.timeout(PATIENCE_S):
        while not workers.ready or workers.pids == [pid]:
            await clock.advance(1)
            await asyncio.sleep(0.05)


async def test_a_hung_worker_is_killed_and_replaced(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    timeouts = Timeouts(unmeasured_s=0)  # this one measures nothing
    workers = LocalWorkers(WorkerConfig(FAKE), clock=clock, timeouts=timeouts)
    await workers.start()
    try:
        await asyncio.wait_for(workers.wait_ready(), PATIENCE_S)
        (pid,) = workers.pids
        await clock.advance(1000)  # nothing is owed
        assert workers.pids == [pid]
        os.kill(pid, signal.SIGSTOP)
        asking = asyncio.create_task(workers.prepare(draw_portrait()))
        await clock.advance(59)
        assert not asking.done()
        await clock.advance(7)
        with pytest.raises(WorkerLost):
            await asyncio.wait_for(asking, PATIENCE_S)
        await replaced(workers, clock, pid)

        basket, (pid,) = Basket(), workers.pids
        stream = await workers.open("a", await workers.prepare(draw_portrait()), basket)
        stream.submit(request(0))
        await basket.next()
        await clock.advance(1000)
        os.kill(pid, signal.SIGSTOP)
        stream.submit(request(1))
        await clock.advance(59)
        assert basket.ended.empty()
        await clock.advance(7)
        assert await asyncio.wait_for(basket.ended.get(), PATIENCE_S) == "worker_lost"
        await replaced(workers, clock, pid)
    finally:
        await workers.aclose()
    assert "it owes a request" in caplog.text and "it owes a chunk" in caplog.text


async def test_a_process_that_cannot_be_started_is_said_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock, tries = ManualClock(), 0

    def fail(process: object) -> None:
        nonlocal tries
        tries += 1
        raise OSError("no memory")

    monkeypatch.setattr(multiprocessing.get_context("spawn").Process, "start", fail)
    workers = LocalWorkers(WorkerConfig(FAKE), clock=clock)
    await workers.start()
    async with asyncio.timeout(PATIENCE_S):
        while tries < 3:
            await clock.advance(1)
            await asyncio.sleep(0.01)
    assert workers.pids == [] and not workers.ready
    await workers.aclose()
    assert caplog.text.count("cannot be started: no memory") >= 2


async def test_a_link_that_never_started_closes_in_peace(monkeypatch: pytest.MonkeyPatch) -> None:
    link = WorkerLink(
        WorkerConfig(FAKE),
        on_message=lambda _: None,
        on_end=lambda: None,
    )
    await link.aclose()

    def fail(process: object) -> None:
        raise OSError("no memory")

    monkeypatch.setattr(multiprocessing.get_context("spawn").Process, "start", fail)
    files = open_files()
    with pytest.raises(OSError, match="no memory"):
        await link.start()
    await link.aclose()
    assert link.pid is None and open_files() == files


async def test_closing_before_anything_is_warm() -> None:
    workers = LocalWorkers(WorkerConfig(FAKE), count=2)
    await workers.start()
    await workers.aclose()
    assert workers.pids == [] and not workers.ready
