"""The seam between sessions and whatever makes their units: processes here, fakes in tests."""

from __future__ import annotations

from typing import Protocol

from server.media.spec import MediaSpec
from server.worker.messages import ChunkRequest, ChunkResult


class ChunkCallbacks(Protocol):
    """Where the chunks of one session arrive; called on the event loop, never after ``close``."""

    def made(self, made: ChunkResult) -> None:
        """Take a finished chunk, possibly of an older generation."""
        ...

    def lost(self, code: str, message: str) -> None:
        """Learn that the stream is gone; called at most once."""
        ...


class Workers(Protocol):
    """Warm generators that serve sessions.

    Every method may raise ``NotReady`` while nothing is warm and ``WorkerLost`` when the process
    ends under the call; ``submit``, ``interrupt``, ``keyframe`` and ``close`` of a stream that is
    gone do nothing.
    """

    @property
    def spec(self) -> MediaSpec | None:
        """What the workers make; None until the first is warm."""
        ...

    @property
    def ready(self) -> bool:
        """Whether a session could be opened now."""
        ...

    @property
    def room(self) -> int:
        """Sessions that the warm workers serve at once in real time, as measured; 0 without one."""
        ...

    async def start(self) -> None:
        """Start the workers; returns before they are warm."""
        ...

    async def wait_ready(self) -> MediaSpec:
        """Return once a worker is warm.

        Raises:
            WorkerLost: the model cannot be loaded; the message says why.
        """
        ...

    async def prepare(self, portrait: bytes) -> str:
        """Make or find the identity of an image file and return its name.

        Raises:
            PortraitError: the picture cannot be used.
        """
        ...

    async def open(
        self, session: str, identity: str, sink: ChunkCallbacks, *, seed: int = 0
    ) -> None:
        """Start a stream whose chunks go to ``sink``."""
        ...

    async def submit(self, session: str, job: ChunkRequest) -> None:
        """Ask for one chunk."""
        ...

    async def interrupt(self, session: str, generation: int) -> None:
        """Drop every job older than ``generation``."""
        ...

    async def keyframe(self, session: str) -> None:
        """Make the next frame decodable alone."""
        ...

    async def close(self, session: str) -> None:
        """Forget a stream."""
        ...

    async def aclose(self) -> None:
        """End every worker and wait until it is gone."""
        ...
