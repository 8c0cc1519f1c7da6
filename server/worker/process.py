"""The worker process: one warm generator that serves several sessions, their encoders beside it.

One thread reads the pipe, one decodes and prepares uploaded portraits, so that nobody's chunk waits
for another caller's portrait, and the main thread does everything else. Its loop takes every
message that waits, then makes one chunk for each of the streams due earliest in one batch, so
streams whose chunks fall due together share a model call without ever waiting for each other.
An interrupt that arrives during a model call is seen before the result is encoded; speech that
starts ends a call that only makes idle pictures of its stream, unless that is nearly done.

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
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice, pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

import numpy as np
from numpy.typing import NDArray

from models.errors import LiveheadError, PortraitError
from models.face.report import PortraitReport
from models.generator import (
    Abandonable,
    FrameByFrame,
    Generator,
    Identity,
    Listener,
    Staged,
    Stream,
    Threaded,
)
from models.registry import load_generator
from server.errors import INTERNAL_CODE
from server.media.spec import MediaSpec
from server.session.workers import ChunkRequest, ChunkResult
from server.telemetry import logs
from server.worker import messages as wire
from server.worker.capacity import Capacity, measure_capacity
from server.worker.disclosure import DisclosureMark
from server.worker.giving_way import Abandoned, GivingWay
from server.worker.layout import useful_workers
from server.worker.machine import available_bytes, idle_seconds, peak_bytes, usable_cores
from server.worker.preparing import Prepared, Preparer
from server.worker.stage_timer import StageTimer
from server.worker.streams import WorkerStream, earliest_due, silent_request
from server.worker.threads import ThreadChoice

if TYPE_CHECKING:  # the gateway imports this module, and never PyTorch
    from server.worker.prepared_store import PreparedStore

log = logging.getLogger(__name__)


class Worker(Generic[Identity, Stream]):
    """The main thread's state: streams, identities and the generator.

    **Bound** of ``inbox``: none by its type; the gateway sends two chunks a session and one request
    a caller. **Drop rule**: none.
    """

    def __init__(
        self,
        generator: Generator[Identity, Stream],
        send: Callable[[wire.Reply], None],
        *,
        max_batch: int = 4,
        max_identities: int = 32,
        clock: Callable[[], float] = time.monotonic,
        store: PreparedStore[tuple[Identity, PortraitReport | None]] | None = None,
    ) -> None:
        self.inbox: queue.Queue[wire.Request | Prepared[Identity]] = queue.Queue()
        self._generator = generator
        self._spec = MediaSpec.of(generator)
        self._send = send
        self._max_batch = max_batch
        self._portraits = Preparer(generator, self.inbox.put, max_identities, store)
        self._streams: dict[str, WorkerStream[Stream]] = {}
        self._clock = clock
        self._frames_of = generator.generate_frames if isinstance(generator, FrameByFrame) else None
        self._timer = StageTimer(clock)
        self._giving_way = GivingWay(clock)
        if isinstance(generator, Staged):
            generator.on_stage = self._timer.stage
        if isinstance(generator, Abandonable):
            generator.on_step = self._giving_way.check
        self._threads: ThreadChoice | None = None
        if isinstance(generator, Threaded) and generator.most_threads > 1:
            most = min(generator.most_threads, usable_cores())
            self._threads = ThreadChoice(most, generator.use_threads, clock, idle_seconds)
        self._capacity = Capacity(max_batch)
        self._mark = DisclosureMark(self._spec.size)
        self._running = True

    def warm_up(self, portrait: bytes) -> None:
        """Run the whole way, so that the first session does not pay for it, and time it.

        Without a portrait nothing is measured, and the capacity is taken to be one batch.
        """
        if not portrait:
            return
        known = self._portraits.prepare_now(portrait)
        chunk_s = self._spec.chunk_frames * self._spec.frame_s
        self._capacity = measure_capacity(
            lambda n: self._silent_batch(known.identity, n), chunk_s, self._max_batch, self._clock
        )
        if self._threads:
            self._threads.measured(self._capacity.batch_s)

    def _silent_batch(self, identity: Identity, n: int) -> Callable[[], None]:
        """A function that generates and encodes the next chunk of ``n`` silent streams."""
        request = silent_request(self._spec)
        silence = np.frombuffer(request.features, np.float32)
        streams = [
            WorkerStream(self._spec, self._generator.open(identity, seed=k)) for k in range(n)
        ]

        def make() -> None:
            chunks = self._generator.generate([s.stream for s in streams], [silence] * n)
            for stream, pictures in zip(streams, chunks, strict=True):
                stream.encode(request, pictures)

        return make

    def receive(self, message: wire.Request) -> None:
        """Take a message, from any thread."""
        self._giving_way.see(message)
        self.inbox.put(message)

    def run(self) -> None:
        """Serve until a ``Stop`` arrives."""
        measured = self._capacity
        workers = useful_workers(
            self._threads is not None, usable_cores(), peak_bytes(), available_bytes()
        )
        self._send(wire.WorkerReady(self._spec, measured.sessions, measured.alone_s, workers))
        while self._running:
            self._giving_way.forget()
            self._take_messages(wait=not self._has_requests())
            self._make_batch()
        self._portraits.close()

    def _has_requests(self) -> bool:
        return any(stream.due is not None for stream in self._streams.values())

    def _take_messages(self, *, wait: bool) -> None:
        while True:
            try:
                message = self.inbox.get(block=wait)
            except queue.Empty:
                return
            wait = False
            self._handle(message)

    def _handle(self, message: wire.Request | Prepared[Identity]) -> None:
        match message:
            case wire.Submit(session=session, chunk=chunk):
                if stream := self._streams.get(session):
                    stream.add(chunk)
            case wire.Interrupt(session=session, epoch=epoch):
                if stream := self._streams.get(session):
                    stream.interrupt(epoch)
            case wire.Keyframe(session=session):
                if stream := self._streams.get(session):
                    stream.request_keyframe()
            case wire.Prepare():
                self._answer(message.request_id, lambda: self._portraits.request(message))
            case wire.Open():
                self._answer(message.request_id, lambda: self._open(message))
            case wire.Close(session=session):
                if stream := self._streams.pop(session, None):
                    self._close(stream)
            case wire.Stop():
                self._running = False
            case Prepared():
                self._answer(message.request_id, lambda: self._portraits.adopt(message))

    def _answer(self, request_id: int, act: Callable[[], wire.Reply | None]) -> None:
        """Run one request and send its answer; what it raises becomes one, not the worker's end."""
        try:
            if (reply := act()) is not None:
                self._send(reply)
        except LiveheadError as error:
            refused = isinstance(error, PortraitError)
            self._send(wire.Failed(request_id, error.code, str(error), portrait=refused))
        except Exception:
            log.exception("a request failed in the worker")
            self._send(
                wire.Failed(request_id, INTERNAL_CODE, "the model failed; see the server's log")
            )

    def _open(self, message: wire.Open) -> wire.Opened:
        known = self._portraits.get(message.content_hash)
        if known is None:
            raise LiveheadError(
                "expected a prepared portrait, got one that is no longer kept; prepare it again",
                code="unknown_identity",
            )
        stream = self._generator.open(known.identity, seed=message.seed)
        mark = self._mark if message.disclosure else None
        self._streams[message.session] = WorkerStream(self._spec, stream, mark)
        return wire.Opened(message.request_id)

    def _close(self, stream: WorkerStream[Stream]) -> None:
        """Release the encoders of a session and what the generator keeps for it."""
        stream.close()
        self._generator.close(stream.stream)

    def _make_batch(self) -> None:
        names = {id(stream): name for name, stream in self._streams.items()}
        chosen = earliest_due(list(self._streams.values()), self._max_batch)
        if not chosen:
            return
        batch = [(names[id(stream)], stream, stream.take()) for stream in chosen]
        for _, stream, request in batch:
            if isinstance(stream.stream, Listener):
                stream.stream.listen(request.caller_speaks)
        idle = not any(any(request.speaking) for _, _, request in batch)
        self._giving_way.begin(name for name, _, _ in batch if idle)
        if self._threads:
            self._threads.before_batch()
        began = self._clock()
        self._timer.start()
        try:
            chunks = self._generate(batch)
        except Abandoned:
            for name, _, request in batch:
                self._send(_given_up(name, request))
            return
        model_s = self._clock() - began
        self._take_messages(wait=False)
        for (name, stream, request), pictures in zip(batch, chunks, strict=True):
            if (
                pictures is None
                or self._streams.get(name) is not stream
                or stream.is_stale(request)
            ):
                continue
            cost = ChunkResult(
                name, request.epoch, request.sequence, (), model_s, 0.0, len(batch), last=False
            )
            try:
                self._deliver(stream, request, pictures, cost, began)
            except Exception as error:
                self._fail(name, stream, error)
        if self._threads:
            self._threads.after_batch(len(batch), self._clock() - began)

    def _deliver(
        self,
        stream: WorkerStream[Stream],
        request: ChunkRequest,
        pictures: Iterator[NDArray[np.uint8]],
        result: ChunkResult,
        began: float,
    ) -> None:
        """Encode and send a chunk; its first frame alone, where the others are not drawn yet."""
        count = self._spec.chunk_frames
        ends = sorted({1, count}) if self._frames_of else [count]
        for first, end in pairwise([0, *ends]):
            asked = self._clock()
            drawn = list(islice(pictures, end - first))
            model_s = result.model_s + self._clock() - asked
            frames = stream.encode(request, drawn, first)
            self._timer.skip()
            result = replace(
                result,
                frames=frames,
                model_s=model_s,
                encode_s=self._clock() - began - model_s,
                stages_s=self._timer.spent,
                first=first,
                last=end == count,
            )
            self._send(result)

    def _generate(
        self, batch: list[tuple[str, WorkerStream[Stream], ChunkRequest]]
    ) -> list[Iterator[NDArray[np.uint8]] | None]:
        """Pictures of each chunk; a stream that fails alone is reported and dropped."""
        audio = [np.frombuffer(request.features, np.float32) for _, _, request in batch]
        try:
            streams = [stream.stream for _, stream, _ in batch]
            if self._frames_of is not None:
                return list(self._frames_of(streams, audio))
            return [iter(chunk) for chunk in self._generator.generate(streams, audio)]
        except Abandoned:
            raise
        except Exception as error:
            if len(batch) > 1:
                return [self._generate([one])[0] for one in batch]
            name, stream, _ = batch[0]
            self._fail(name, stream, error)
            return [None]

    def _fail(self, name: str, stream: WorkerStream[Stream], error: Exception) -> None:
        """Drop a stream that the model failed on."""
        log.error("a stream failed", exc_info=error)
        self._close(stream)
        del self._streams[name]
        code = error.code if isinstance(error, LiveheadError) else "generator_failed"
        self._send(wire.StreamFailed(name, code, "the model failed on this session"))


def main(connection: Connection, config: wire.WorkerConfig) -> None:
    """Entry of the spawned process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logs.set_up(config.log, "%(levelname)s worker %(message)s")
    try:
        worker = Worker(
            load_generator(config.options),
            connection.send,
            max_batch=config.max_batch,
            max_identities=config.max_identities,
            store=_store_of(config),
        )
        worker.warm_up(config.warm_portrait)
    except Exception as error:
        log.exception("the model cannot be started")
        code = error.code if isinstance(error, LiveheadError) else "bad_model"
        connection.send(wire.Failed(wire.START_REQUEST_ID, code, str(error)))
        return
    reader = threading.Thread(target=_read, args=(connection, worker.receive), daemon=True)
    reader.start()
    worker.run()


def _store_of(config: wire.WorkerConfig) -> PreparedStore[Any] | None:
    """Where prepared portraits are kept, if anywhere."""
    if not config.prepared:
        return None
    from server.worker.prepared_store import PreparedStore, maker_of  # needs PyTorch

    return PreparedStore(Path(config.prepared), maker_of(config.options))


def _given_up(session: str, request: ChunkRequest) -> ChunkResult:
    """The answer to a request whose pictures were not made."""
    return ChunkResult(session, request.epoch, request.sequence, (), 0.0, 0.0, 0)


def _read(connection: Connection, receive: Callable[[Any], None]) -> None:
    """Pass messages on; the end of the pipe is the end of the process."""
    while True:
        try:
            receive(connection.recv())
        except (EOFError, OSError):
            os._exit(0)
