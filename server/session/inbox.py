"""The speech that one session's sockets pushed and its chunk scheduler has no room for yet.

The sockets are read on meanwhile, so that ``response.cancel`` overtakes the sound sent before it.

**Bound**: ``MAX_AHEAD_S`` of speech per session, whatever its format, over all its sockets, and one
message of each (at most 115 MB, of 96 kHz stereo; 10 MB of 16 kHz); at the bound
``wait_for_room`` waits, so a socket that pushed is not read any more and its sender must wait; one
that only sends ``response.cancel`` is read. **Drop rule**: nothing is dropped but by ``clear`` (an
interrupt or a cleared input), which drops everything. Long messages are handed on in slices, so the
scheduler's own bound is overrun by at most one slice. A microphone does not pass here: it never
waits, and the scheduler trims it.

The borders of messages are not those of samples: each socket is a ``SpeechSource``, which keeps
the bytes of a sample that is not whole yet. They are dropped where the sound behind them is not
their continuation: at the end of a segment, an interrupt, a cleared input, another format.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.errors import Conflict
from server.media.resampler import AudioFormat
from server.session.producer import Producer

MAX_AHEAD_S = 300.0
PIECE_S = 0.005  # what a piece costs beside its sound, so that segment ends are bounded too
SAMPLE_BYTES = 2
SLICE_S = 1.0


@dataclass(slots=True)
class _Piece:
    """One message: interleaved samples and their format, or the end of a segment (None)."""

    samples: NDArray[np.int16]
    format: AudioFormat | None
    next: int = 0

    @property
    def cost(self) -> float:
        rate = self.format.rate * self.format.channels if self.format else 1
        return len(self.samples) / rate + PIECE_S


class SpeechSource:
    """What one socket pushes, in messages cut at any byte."""

    def __init__(self, inbox: SpeechInbox, audio_format: AudioFormat) -> None:
        self._inbox = inbox
        self._format = audio_format
        self._rest = b""
        self._borders = inbox.borders

    def announce(self, audio_format: AudioFormat) -> None:
        """The format of the sound that follows."""
        if audio_format != self._format:
            self._format, self._rest = audio_format, b""

    def push(self, pcm: bytes) -> None:
        """Append interleaved s16le bytes.

        Raises:
            Conflict: the session ends.
        """
        if self._borders != self._inbox.borders:
            self._borders, self._rest = self._inbox.borders, b""
        pcm = self._rest + pcm
        whole = len(pcm) - len(pcm) % (SAMPLE_BYTES * self._format.channels)
        self._rest = pcm[whole:]
        if whole:
            samples = np.frombuffer(pcm, np.dtype("<i2"), whole // SAMPLE_BYTES)
            self._inbox.push(samples.astype(np.int16, copy=False), self._format)


class SpeechInbox:
    """Queues what sockets push and hands it to the producer in order; ``run`` is its task.

    Attributes:
        borders: how often the sound that follows was not a continuation of the sound before.
    """

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._pieces: deque[_Piece] = deque()
        self._ahead_s = 0.0
        self._closed = False
        self.borders = 0
        self._filled = asyncio.Event()
        self._taken = asyncio.Event()

    def push(self, samples: NDArray[np.int16], audio_format: AudioFormat) -> None:
        """Append interleaved int16 [N * channels].

        Raises:
            Conflict: the session ends.
        """
        self._append(_Piece(samples, audio_format))

    def end_segment(self) -> None:
        """Append the end of the segment that is being pushed.

        Raises:
            Conflict: the session ends.
        """
        self.borders += 1
        self._append(_Piece(np.zeros(0, np.int16), None))

    def clear(self) -> None:
        """Drop everything that was not cut into chunks yet, here and in the scheduler."""
        self.borders += 1
        self._pieces.clear()
        self._ahead_s = 0.0
        self._producer.drop_speech()
        self._taken.set()

    def close(self) -> None:
        """Take nothing more and drop what was not cut: the session ends."""
        self._closed = True
        self.clear()

    async def wait_for_room(self) -> None:
        """Return when one more message may be pushed."""
        while self._ahead_s >= MAX_AHEAD_S:
            self._taken.clear()
            await self._taken.wait()

    async def join(self) -> None:
        """Return when everything that was pushed was handed on or dropped."""
        while self._pieces:
            self._taken.clear()
            await self._taken.wait()

    async def run(self) -> None:
        """Hand on until cancelled."""
        while True:
            while not self._pieces:
                self._filled.clear()
                await self._filled.wait()
            piece = self._pieces[0]
            if piece.format is not None and not self._producer.has_room:
                await self._producer.wait_for_room()
                continue  # it may have been dropped meanwhile
            if self._hand_on(piece):
                self._pieces.popleft()
                self._ahead_s = self._ahead_s - piece.cost if self._pieces else 0.0
                self._taken.set()
            await asyncio.sleep(0)  # many small pieces must not stop other sessions

    def _hand_on(self, piece: _Piece) -> bool:
        """Hand on the next slice of a piece; whether it was the last."""
        if piece.format is None:
            self._producer.end_segment()
            return True
        start = piece.next
        piece.next += round(piece.format.rate * SLICE_S) * piece.format.channels
        if start < len(piece.samples):
            self._producer.hear(piece.samples[start : piece.next], piece.format)
        return piece.next >= len(piece.samples)

    def _append(self, piece: _Piece) -> None:
        if self._closed:
            raise Conflict("expected an open session, got one that ends; create another")
        self._pieces.append(piece)
        self._ahead_s += piece.cost
        self._filled.set()
