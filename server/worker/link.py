"""The gateway's end of one worker process: starts it, exchanges messages, notices its end.

Two threads per process keep the pipe off the event loop: one writes (a full pipe must not stop
every session), one reads and hands each message to the loop. **Bound**: the writer's queue holds
``OUTBOX`` messages. **Drop rule**: none; a worker that does not read for so long is hung and is
killed, which ends like any crash.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import queue
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from models.io.command import deaf_children
from server.worker import messages as protocol
from server.worker import process
from server.worker.messages import Reply, Request, Stop, WorkerConfig

log = logging.getLogger(__name__)

OUTBOX = 512  # messages; two chunks for each of very many sessions
STOP_GRACE_S = 5.0
KILL_GRACE_S = 2.0


class WorkerLink:
    """One child process; make a new link for a new child."""

    def __init__(
        self,
        config: WorkerConfig,
        on_message: Callable[[Reply], None],
        on_end: Callable[[], None],
    ) -> None:
        self._config = config
        self._on_message = on_message
        self._on_end = on_end
        self._outbox: queue.Queue[Request | None] = queue.Queue(OUTBOX)
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._threads: list[threading.Thread] = []

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Spawn the child; its first message says that it is warm or why it cannot be.

        Raises:
            OSError, RuntimeError: the machine has no process, file or thread left.
        """
        loop = asyncio.get_running_loop()
        spawning = asyncio.ensure_future(asyncio.to_thread(self._spawn, loop))
        try:
            await asyncio.shield(spawning)
        finally:  # a thread cannot be cancelled: ``aclose`` must find what came of it
            await asyncio.gather(spawning, return_exceptions=True)

    def send(self, message: Request) -> None:
        """Queue a message; a worker that does not read is killed."""
        try:
            self._outbox.put_nowait(message)
        except queue.Full:
            log.error("worker %s does not read its messages; killing it", self.pid)
            self.kill()

    def kill(self) -> None:
        """End the child at once; ``on_end`` follows as after any crash."""
        if self._process is not None and self._process.is_alive():
            self._process.kill()

    async def aclose(self) -> None:
        """Ask the child to stop, insist, and wait until it and the threads are gone."""
        if self._process is None:
            return
        self.send(Stop())
        await asyncio.to_thread(self._end)

    def _spawn(self, loop: asyncio.AbstractEventLoop) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=True)
        child = context.Process(
            target=process.main, args=(theirs, self._config), name="livehead-worker", daemon=True
        )
        try:
            with deaf_children():
                child.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._connection, self._process = ours, child
        for target, args in ((self._read, (ours, loop)), (self._write, (ours,))):
            thread = threading.Thread(target=target, args=args, daemon=True)
            thread.start()
            self._threads.append(thread)

    def _end(self) -> None:
        assert self._process is not None and self._connection is not None
        self._process.join(STOP_GRACE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(KILL_GRACE_S)
        self._stop_writer()
        for thread in self._threads:
            thread.join(KILL_GRACE_S)
        self._connection.close()
        if self._process.is_alive():
            log.error("worker %s cannot be killed; it is left behind", self.pid)
        else:
            self._process.close()
        self._process = None

    def _stop_writer(self) -> None:
        while True:
            try:
                self._outbox.put_nowait(None)
                return
            except queue.Full:
                self._outbox.get_nowait()

    def _read(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while True:
                message: protocol.Reply = connection.recv()
                loop.call_soon_threadsafe(self._on_message, message)
        except (EOFError, OSError):
            pass
        except RuntimeError:
            return  # the loop is closed: nobody is left to tell
        try:
            loop.call_soon_threadsafe(self._on_end)
        except RuntimeError:
            return

    def _write(self, connection: Connection) -> None:
        while (message := self._outbox.get()) is not None:
            try:
                connection.send(message)
            except (BrokenPipeError, OSError):
                return
