"""What a socket said and its session has no room for yet: kept in order and spoken in turn.

The socket is read on meanwhile, so that ``response.cancel`` overtakes the sound sent before it. An
interrupt or a clear, by whatever way it came, drops all that was read before. At ``MAX_BYTES`` the
socket is not read any more, and its sender must wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from models.errors import LiveheadError
from server.errors import Conflict
from server.session import events
from server.session.session import Session

MAX_BYTES = 8 * 1024 * 1024  # 4 min of 16 kHz speech
PIECE_BYTES = 256  # what a piece costs beside its sound, so that commits are bounded too


@dataclass(frozen=True, slots=True)
class _Piece:
    """Sound and its form; without sound, the end of a segment."""

    epoch: int
    pcm: bytes | None = None
    rate: int = 0
    channels: int = 0

    @property
    def cost(self) -> int:
        return len(self.pcm or b"") + PIECE_BYTES


class Backlog:
    """The queue between one socket and its session; ``run`` is its task."""

    def __init__(self, session: Session, tell: Callable[[events.Event], None]) -> None:
        """``tell`` sends the caller what is wrong with a piece."""
        self._session = session
        self._tell = tell
        self._pieces: deque[_Piece] = deque()
        self._bytes = 0
        self._ended = False
        self._changed = asyncio.Event()

    async def wait_for_room(self) -> None:
        """Return when one more message may be read."""
        while self._bytes >= MAX_BYTES:
            self._changed.clear()
            await self._changed.wait()

    def push(self, pcm: bytes, rate: int, channels: int) -> None:
        """Append s16le sound."""
        self._append(_Piece(self._session.epoch, pcm, rate, channels))

    def commit(self) -> None:
        """Append the end of a segment."""
        self._append(_Piece(self._session.epoch))

    def end(self) -> None:
        """Nothing follows."""
        self._ended = True
        self._changed.set()

    async def run(self) -> None:
        """Hand on until all that the socket said is spoken for, or the session ends."""
        while self._pieces or not self._ended:
            if not self._pieces:
                self._changed.clear()
                await self._changed.wait()
                continue
            try:
                await self._hand_on(self._pieces[0])
            except Conflict:
                return
            except LiveheadError as error:
                self._tell(events.error(error.code, str(error)))
            self._bytes -= self._pieces.popleft().cost
            self._changed.set()
            await asyncio.sleep(0)  # many small pieces must not stop other sessions

    async def _hand_on(self, piece: _Piece) -> None:
        if piece.epoch != self._session.epoch:
            return
        if piece.pcm is None:
            self._session.commit()
        else:
            await self._session.push(piece.pcm, piece.rate, piece.channels, piece.epoch)

    def _append(self, piece: _Piece) -> None:
        self._pieces.append(piece)
        self._bytes += piece.cost
        self._changed.set()
