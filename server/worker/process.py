"""The worker process: one warm generator that serves several sessions, their encoders beside it.

One thread reads the pipe, one decodes uploaded pictures, and the main thread does everything else:
it is the only one that calls the generator, so models need not be safe for threads. Its loop takes
every message that waits, then makes one chunk for each of the most urgent streams in one batch,
so streams whose chunks fall due together share a model call without ever waiting for each other.
An interrupt that arrives during a model call is seen before the result is encoded.

The child ignores SIGINT (Ctrl-C reaches the whole group; the gateway ends us in good order) and
ends at once when the pipe closes, so it never outlives its parent.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import LiveheadError, PortraitError
from models.generator import Generator, chunk_samples
from server.generators import make_generator
from server.identities import IdentityCache, content_hash
from server.media.spec import MediaSpec
from server.worker import protocol as wire
from server.worker.streams import WorkerStream, most_urgent

log = logging.getLogger(__name__)

_Decoded = tuple[int, str, "Future[NDArray[np.uint8]]"]


class Worker:
    """The main thread's state: streams, identities and the generator."""

    def __init__(
        self,
        generator: Generator,
        send: Callable[[wire.Reply], None],
        *,
        max_batch: int = 4,
        max_identities: int = 32,
    ) -> None:
        # Unbounded by type, bounded by the gateway: two jobs per session and one request a caller.
        self.inbox: queue.Queue[wire.Request | _Decoded] = queue.Queue()
        self._generator = generator
        self._spec = MediaSpec.of(generator)
        self._send = send
        self._max_batch = max_batch
        self._identities = IdentityCache(max_identities)
        self._streams: dict[str, WorkerStream] = {}
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="decode")
        self._running = True

    def warm_up(self, portrait: bytes) -> None:
        """Run the whole way once, so that the first session does not pay for it."""
        if not portrait:
            return
        identity = self._generator.prepare(decode_portrait(portrait))
        self._identities.put(content_hash(portrait), identity)
        silence = np.zeros(chunk_samples(self._generator), np.float32)
        stream = self._generator.open(identity)
        for _ in range(2):
            self._generator.generate([stream], [silence])

    def run(self) -> None:
        """Serve until a ``Stop`` arrives."""
        self._send(wire.Ready(self._spec))
        while self._running:
            self._take_messages(wait=not self._has_jobs())
            self._make_batch()
        self._decoder.shutdown(wait=False, cancel_futures=True)

    def _has_jobs(self) -> bool:
        return any(stream.due is not None for stream in self._streams.values())

    def _take_messages(self, *, wait: bool) -> None:
        while True:
            try:
                message = self.inbox.get(block=wait)
            except queue.Empty:
                return
            wait = False
            self._handle(message)

    def _handle(self, message: wire.Request | _Decoded) -> None:
        match message:
            case wire.Submit(session=session, job=job):
                if stream := self._streams.get(session):
                    stream.add(job)
            case wire.Interrupt(session=session, generation=generation):
                if stream := self._streams.get(session):
                    stream.interrupt(generation)
            case wire.Keyframe(session=session):
                if stream := self._streams.get(session):
                    stream.request_keyframe()
            case wire.Prepare():
                self._answer(message.request, lambda: self._prepare(message))
            case wire.Open():
                self._answer(message.request, lambda: self._open(message))
            case wire.Close(session=session):
                if stream := self._streams.pop(session, None):
                    stream.close()
            case wire.Stop():
                self._running = False
            case (request, name, future):
                self._answer(request, lambda: self._adopt(request, name, future))

    def _answer(self, request: int, act: Callable[[], None]) -> None:
        """Run one request; whatever it raises becomes its answer, not the worker's end."""
        try:
            act()
        except LiveheadError as error:
            refused = isinstance(error, PortraitError)
            self._send(wire.Failed(request, error.code, str(error), portrait=refused))
        except Exception:
            log.exception("a request failed in the worker")
            self._send(wire.Failed(request, "internal", "the model failed; see the server's log"))

    def _prepare(self, message: wire.Prepare) -> None:
        name = content_hash(message.portrait)
        if self._identities.get(name) is not None:
            self._send(wire.Prepared(message.request, name))
            return
        future = self._decoder.submit(decode_portrait, message.portrait)
        future.add_done_callback(lambda done: self.inbox.put((message.request, name, done)))

    def _adopt(self, request: int, name: str, decoded: Future[NDArray[np.uint8]]) -> None:
        if self._identities.get(name) is None:
            self._identities.put(name, self._generator.prepare(decoded.result()))
        self._send(wire.Prepared(request, name))

    def _open(self, message: wire.Open) -> None:
        identity = self._identities.get(message.identity)
        if identity is None:
            raise LiveheadError(
                "expected a prepared portrait, got one that is no longer kept; prepare it again",
                code="unknown_identity",
            )
        stream = self._generator.open(identity, seed=message.seed)
        self._streams[message.session] = WorkerStream(self._spec, stream)
        self._send(wire.Opened(message.request))

    def _make_batch(self) -> None:
        names = {id(stream): name for name, stream in self._streams.items()}
        chosen = most_urgent(list(self._streams.values()), self._max_batch)
        if not chosen:
            return
        jobs = [(names[id(stream)], stream, stream.take()) for stream in chosen]
        began = time.monotonic()
        made = self._generate(jobs)
        self._take_messages(wait=False)
        for (name, stream, job), frames in zip(jobs, made, strict=True):
            if frames is None or self._streams.get(name) is not stream or stream.is_stale(job):
                continue
            units = stream.encode(job, frames)
            spent = time.monotonic() - began
            self._send(wire.Made(name, job.generation, job.sequence, units, spent, len(jobs)))

    def _generate(
        self, jobs: list[tuple[str, WorkerStream, wire.Job]]
    ) -> list[NDArray[np.uint8] | None]:
        """Frames of each job; a stream that fails alone is reported and dropped."""
        audio = [np.frombuffer(job.features, np.float32) for _, _, job in jobs]
        try:
            streams = [stream.stream for _, stream, _ in jobs]
            return list(self._generator.generate(streams, audio))
        except Exception as error:
            if len(jobs) > 1:
                return [self._generate([job])[0] for job in jobs]
            log.exception("a stream failed")
            name, stream, _ = jobs[0]
            stream.close()
            del self._streams[name]
            code = error.code if isinstance(error, LiveheadError) else "generator_failed"
            self._send(wire.StreamFailed(name, code, "the model failed on this session"))
            return [None]


def decode_portrait(portrait: bytes) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] from an image file; raises PortraitError."""
    from models.portrait import load_image

    picture: NDArray[np.uint8] = load_image(portrait)
    return picture


def main(connection: Connection, config: wire.WorkerConfig) -> None:
    """Entry of the spawned process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s worker %(message)s")
    try:
        worker = Worker(
            make_generator(config),
            connection.send,
            max_batch=config.max_batch,
            max_identities=config.max_identities,
        )
        worker.warm_up(config.warm_portrait)
    except Exception as error:
        log.exception("the model cannot be started")
        code = error.code if isinstance(error, LiveheadError) else "bad_model"
        connection.send(wire.Failed(wire.START_REQUEST, code, str(error)))
        return
    reader = threading.Thread(target=_read, args=(connection, worker.inbox), daemon=True)
    reader.start()
    worker.run()


def _read(connection: Connection, inbox: queue.Queue[Any]) -> None:
    """Pass messages on; the end of the pipe is the end of the process."""
    while True:
        try:
            inbox.put(connection.recv())
        except (EOFError, OSError):
            os._exit(0)
