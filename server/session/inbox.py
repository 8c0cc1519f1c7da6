"""Takes a socket's sound into the timeline, and makes who pushes wait while there is no room.

Behind it ``server/session/backlog.py`` fills up, then the socket, and its sender notices: that is
all the flow control there is. Long messages are taken in slices, so the buffer is overrun by at
most one slice. A microphone is never made to wait; the timeline trims it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.errors import BadRequest

SAMPLE_BYTES = 2
SLICE_S = 1.0


class Intake:
    """The door between sockets and one session's timeline."""

    def __init__(
        self, has_room: Callable[[], bool], take: Callable[[NDArray[np.int16], int, int], Any]
    ) -> None:
        """``take(samples, rate, channels)`` queues at once; ``has_room`` says when it may."""
        self._has_room = has_room
        self._take = take
        self._changed = asyncio.Event()
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """Grows whenever the queue is cleared: sound that came before is dropped."""
        return self._epoch

    async def push(self, pcm: bytes, rate: int, channels: int, epoch: int | None = None) -> None:
        """Queue s16le sound, waiting for room; what waits when the queue is cleared is dropped.

        ``epoch`` is that of its arrival; now, when None.

        Raises:
            BadRequest: not a whole number of samples.
        """
        if len(pcm) % (SAMPLE_BYTES * channels):
            raise BadRequest(
                f"expected 16-bit samples of {channels} channel(s), got {len(pcm)} bytes;"
                " send whole samples"
            )
        samples = np.frombuffer(pcm, np.dtype("<i2")).astype(np.int16, copy=False)
        step = round(rate * SLICE_S) * channels
        epoch = self._epoch if epoch is None else epoch
        for at in range(0, len(samples), step):
            while not self._has_room() and epoch == self._epoch:
                self._changed.clear()
                await self._changed.wait()
            if epoch != self._epoch:
                return
            self._take(samples[at : at + step], rate, channels)

    def look_again(self) -> None:
        """There may be room now."""
        self._changed.set()

    def clear(self) -> None:
        """The queue was cleared: what waits belongs to it."""
        self._epoch += 1
        self._changed.set()
