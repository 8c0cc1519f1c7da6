"""Says when a worker is hung: what it owes, since when, and how long that may be."""

from __future__ import annotations

import math
from dataclasses import dataclass

from server.worker.messages import ChunkRequest

CHECK_S = 5.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that a worker may owe an answer.

    A model may be slow by nature: a published one takes minutes for a chunk on a CPU, and whatever
    else it is asked for waits for that chunk. So a worker always has the time of ``batches`` full
    batches, as it measured one chunk when it started.

    Attributes:
        request_s: for a portrait or a new stream.
        chunk_s: for the next chunk, of whichever session, while one is owed.
        unmeasured_s: for both, of a worker that did not measure.
    """

    request_s: float = 60.0
    chunk_s: float = 60.0
    batches: float = 10.0
    unmeasured_s: float = 3600.0

    def measured(self, full_batch_s: float) -> Timeouts:
        """The patience with a worker whose full batch takes so long; 0 is not known."""
        least = self.batches * full_batch_s if full_batch_s else self.unmeasured_s
        return Timeouts(max(self.request_s, least), max(self.chunk_s, least))


class InFlight:
    """What one worker was asked for and has not answered."""

    def __init__(self) -> None:
        self.patience = Timeouts()
        self._requests: dict[int, float] = {}
        self._jobs: dict[tuple[str, int], tuple[int, float]] = {}
        self._chunk_at = -math.inf

    def ask(self, request: int, now: float) -> None:
        """A request was sent."""
        self._requests[request] = now

    def answered(self, request: int) -> None:
        """It was answered, or nobody waits for it any more."""
        self._requests.pop(request, None)

    def submit(self, session: str, job: ChunkRequest, now: float) -> None:
        """A job was sent."""
        self._jobs[session, job.sequence] = job.generation, now

    def made(self, session: str, sequence: int, now: float) -> None:
        """Its chunk came: the model runs."""
        self._chunk_at = now
        self._jobs.pop((session, sequence), None)

    def drop(self, session: str, before: float = math.inf) -> None:
        """Jobs of generations before ``before`` will never be answered."""
        for key, (generation, _) in list(self._jobs.items()):
            if key[0] == session and generation < before:
                del self._jobs[key]

    def overdue(self, now: float) -> str | None:
        """What was waited for too long, or None."""
        asked = min(self._requests.values(), default=math.inf)
        if now - asked > self.patience.request_s:
            return f"a request for {now - asked:.0f} s"
        owed = max(min((at for _, at in self._jobs.values()), default=math.inf), self._chunk_at)
        if now - owed > self.patience.chunk_s:
            return f"a chunk for {now - owed:.0f} s"
        return None
