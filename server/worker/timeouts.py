"""Detects a hung worker: the requests in flight, since when, and how long they may take."""

from __future__ import annotations

import math
from dataclasses import dataclass

from server.session.workers import ChunkRequest

CHECK_S = 5.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that a worker may take to answer.

    A model may be slow by nature: a published one takes minutes for a chunk on a CPU, and whatever
    else it is asked for waits for that chunk. So a worker always has the time of ``batches`` full
    batches, as it measured them when it started.

    Attributes:
        request_s: for a portrait or a new stream.
        chunk_s: for the next chunk, of whichever session, while one is in flight.
        unmeasured_s: for both, of a worker that did not measure.
    """

    request_s: float = 60.0
    chunk_s: float = 60.0
    batches: float = 10.0
    unmeasured_s: float = 3600.0

    def measured(self, full_batch_s: float) -> Timeouts:
        """The timeouts of a worker whose full batch takes ``full_batch_s``; 0 is not known."""
        least = self.batches * full_batch_s if full_batch_s else self.unmeasured_s
        return Timeouts(max(self.request_s, least), max(self.chunk_s, least))


class InFlight:
    """The requests that one worker has not answered yet."""

    def __init__(self) -> None:
        self.timeouts = Timeouts()
        self._requests: dict[int, float] = {}
        self._chunks: dict[tuple[str, int], tuple[int, float]] = {}
        self._chunk_at = -math.inf

    def ask(self, request_id: int, now: float) -> None:
        """A request was sent."""
        self._requests[request_id] = now

    def answered(self, request_id: int) -> None:
        """A request was answered, or nobody waits for it any more."""
        self._requests.pop(request_id, None)

    def submit(self, session: str, chunk: ChunkRequest, now: float) -> None:
        """A chunk was requested."""
        self._chunks[session, chunk.sequence] = chunk.epoch, now

    def on_chunk(self, session: str, sequence: int, now: float) -> None:
        """A chunk came: the model runs."""
        self._chunk_at = now
        self._chunks.pop((session, sequence), None)

    def drop(self, session: str, before: float = math.inf) -> None:
        """Chunks of epochs before ``before`` will never be answered."""
        for key, (epoch, _) in list(self._chunks.items()):
            if key[0] == session and epoch < before:
                del self._chunks[key]

    def timed_out(self, now: float) -> str | None:
        """What has taken too long, in words, or None."""
        asked = min(self._requests.values(), default=math.inf)
        if now - asked > self.timeouts.request_s:
            return f"a request for {now - asked:.0f} s"
        since = max(min((at for _, at in self._chunks.values()), default=math.inf), self._chunk_at)
        if now - since > self.timeouts.chunk_s:
            return f"a chunk for {now - since:.0f} s"
        return None
