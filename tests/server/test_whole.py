"""The whole server with a real worker process: pictures that belong together, no growth."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from models.fake import read_counter
from models.options import ModelOptions
from server.assets import draw_portrait
from server.worker.messages import WorkerConfig
from server.worker.pool import LocalWorkers
from tests.support.processes import open_files, resident_bytes, threads
from tests.support.server_in_loop import Caller, Unpacked, bearer, serving
from tests.support.sound import speech

pytestmark = pytest.mark.unit

PATIENCE_S = 60.0
CYCLES = 50
MEGABYTE = 1024 * 1024


async def warm() -> LocalWorkers:
    """Workers for ``serving``, which starts and ends them."""
    return LocalWorkers(
        WorkerConfig(ModelOptions("fake", size=(256, 256)), warm_portrait=draw_portrait())
    )


class Decoder:
    """H.264 frames back into RGB [H, W, 3]."""

    def __init__(self) -> None:
        self._codec: Any = av.CodecContext.create("h264", "r")

    def decode(self, packet: Unpacked) -> list[NDArray[np.uint8]]:
        """Pictures that the packet completes."""
        frames = self._codec.decode(av.Packet(packet.video))
        return [frame.to_ndarray(format="rgb24") for frame in frames]


async def watch(caller: Caller, session: dict[str, Any], seconds: float) -> list[Unpacked]:
    """Stream for a while, speaking from the beginning."""
    async with caller.stream(session) as socket:
        await socket.send(speech(seconds / 2, 16_000).tobytes())
        await socket.say(type="input_audio_buffer.commit")
        return [await socket.frame() for _ in range(round(seconds * 25))]


async def test_two_sessions_show_their_own_frames_in_order_and_flash_with_their_sound() -> None:
    async with serving(await warm()) as caller:
        await asyncio.wait_for(caller.workers.wait_ready(), PATIENCE_S)
        sessions = [await caller.create(), await caller.create("bob")]
        streams = await asyncio.gather(*(watch(caller, one, 2.4) for one in sessions))
        starts = []
        for packets in streams:
            decoder = Decoder()
            frames = [frame for packet in packets for frame in decoder.decode(packet)]
            counters = [read_counter(frame) for frame in frames]
            assert len(frames) >= len(packets) - 1
            steps = np.diff(counters)
            assert (steps >= 1).all() and (steps <= 1 + 8).all()  # more than one: idle was skipped
            assert np.count_nonzero(steps != 1) <= 1
            starts.append(counters[0])
            for packet, frame in zip(packets, frames, strict=False):
                loud = np.abs(np.frombuffer(packet.audio, np.int16)).mean() > 1700
                assert loud == (frame[-20:].mean() > 127), packet.index
        assert starts[0] != starts[1]


async def test_fifty_sessions_leave_nothing_behind() -> None:
    async with serving(await warm()) as caller:
        await asyncio.wait_for(caller.workers.wait_ready(), PATIENCE_S)
        assert isinstance(caller.workers, LocalWorkers)
        (worker,) = caller.workers.pids

        async def cycle(number: int) -> None:
            session = await caller.create()
            async with caller.stream(session) as socket:
                await socket.send(speech(0.5, 16_000).tobytes())
                await socket.frame()
                if number % 3 == 0:
                    assert await caller.delete(session) == 204
            await caller.delete(session)

        def measure() -> dict[str, int]:
            gc.collect()
            return {
                "tasks": len(asyncio.all_tasks()),
                "threads": threads(),
                "files": open_files(),
                "worker threads": threads(worker),
                "worker files": open_files(worker),
            }

        for number in range(10):
            await cycle(number)
        await asyncio.sleep(0.2)
        before, memory, held = measure(), resident_bytes(), resident_bytes(worker)
        for number in range(CYCLES):
            await cycle(number)
        await asyncio.sleep(0.2)
        after = measure()
        assert {
            name: after[name] - before[name] for name in before if after[name] > before[name]
        } == {}
        assert resident_bytes() - memory < 10 * MEGABYTE
        assert resident_bytes(worker) - held < 10 * MEGABYTE
        assert len(caller.app.state.context.sessions) == 0


async def test_a_worker_that_crashes_takes_its_sessions_and_comes_back() -> None:
    async with serving(await warm()) as caller:
        await asyncio.wait_for(caller.workers.wait_ready(), PATIENCE_S)
        assert isinstance(caller.workers, LocalWorkers)
        session = await caller.create()
        async with caller.stream(session) as socket:
            await socket.frame()
            os.kill(caller.workers.pids[0], signal.SIGKILL)
            assert (await socket.event("error"))["error"]["code"] == "worker_lost"
            assert (await socket.event("session.closed"))["reason"] == "worker_lost"
        path = f"/session/{session['session_id']}"
        while (await caller.http.get(path, headers=bearer(session))).status_code != 404:
            await asyncio.sleep(0.02)
        await asyncio.wait_for(caller.workers.wait_ready(), PATIENCE_S)
        async with caller.stream(await caller.create()) as socket:
            assert (await socket.frame()).flags & 1
