"""A session with a Livehead server, for Python programs: speech in, AV frames and events out.

    async with ClientSession("http://localhost:8000", avatar_id="ada") as session:
        speaking = asyncio.create_task(session.say(pcm, rate=16_000))
        async for message in session:
            match message:
                case ReceivedFrame(): ...  # one video frame and its sound
                case Event(type="output_audio_buffer.stopped"): break
        await speaking

Knows nothing about files, screens or loudspeakers; ``saving.py`` writes what arrives to a file.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from client_demo.frames import ReceivedFrame, unpack
from client_demo.rest import Format, Mode, RequestFailed, Rest, Ticket

Video = Literal["h264", "jpeg", "none"]

SLICE_S = 0.1  # of speech in one message
AHEAD_S = 20.0  # how far ``say`` runs ahead; the server holds 30 s, so it never stops reading
SILENCE_S = 15.0  # a server that says nothing for so long is gone: it sends 25 frames a second
NORMAL_CLOSURE = 1000


@dataclass(frozen=True, slots=True)
class Event:
    """A text message of the server: its type, and the JSON object with all its fields."""

    type: str
    data: dict[str, Any] = field(default_factory=dict)


class ClientSession:
    """One session, from ``async with`` to its end; iterate over it to receive."""

    def __init__(
        self,
        url: str,
        *,
        avatar_id: str | None = None,
        portrait: bytes | None = None,
        box: Sequence[float] | None = None,
        mode: Mode = "speak",
        video: Video = "h264",
        api_key: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is sent before ``async with``.

        Args:
            url: of the server, such as ``http://localhost:8000``.
            avatar_id: a bundled avatar; the first one when neither this nor ``portrait`` is given.
            portrait: an encoded picture (JPEG, PNG, WebP, AVIF or HEIC) with a face.
            box: around the face to take of several: x, y, width, height in pixels, or in shares of
                the picture if none is over 1.
            mode: ``speak`` for pushed speech; in ``echo`` pushed sound is a live microphone.
            video: the form in which frames arrive.
            api_key: for servers that ask for one.
            clock: seconds that never jump back.
        """
        self._rest = Rest(url, api_key)
        self._avatar_id = avatar_id
        self._portrait = portrait
        self._box = box
        self._mode: Mode = mode
        self._video = video
        self._clock = clock
        self._ticket: Ticket | None = None
        self._socket: ClientConnection | None = None

    async def __aenter__(self) -> Self:
        """Create the session and attach to it.

        Raises:
            RequestFailed: the server refuses (``no_face``, ``no_capacity``, ...), does not answer
                (``unreachable``) or does not open the WebSocket (``lost``).
        """
        self._ticket = await self._rest.create(
            self._avatar_id, self._portrait, self._mode, self._box
        )
        try:
            await self._attach(self._rest.stream_url(self._ticket, self._video))
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Detach and end the session on the server."""
        await self._leave()

    @property
    def id(self) -> str:
        """The session's name on the server."""
        return self._open_ticket().session_id

    @property
    def report(self) -> dict[str, Any] | None:
        """What the server found in the portrait, and what limits it; None if it does not tell."""
        return self._open_ticket().report

    @property
    def format(self) -> Format:
        """Size and rates of what arrives."""
        return self._open_ticket().format

    async def announce(self, rate: int, channels: int = 1) -> None:
        """Say in which form (Hz, channels) what is pushed next comes; 16 kHz mono at first."""
        audio = {"sample_rate": rate, "channels": channels}
        await self.send({"type": "session.update", "audio": audio})

    async def push(self, pcm: bytes) -> None:
        """Send s16le speech in the announced form; waits while the server cannot take more."""
        await self._write(pcm)

    async def commit(self) -> None:
        """End the segment: what was pushed is spoken to its end without waiting for more."""
        await self.send({"type": "input_audio_buffer.commit"})

    async def interrupt(self) -> None:
        """Stop talking now and drop everything that was pushed."""
        await self.send({"type": "response.cancel"})

    async def say(self, pcm: bytes, rate: int, *, realtime: bool = False) -> None:
        """Push an utterance and commit it.

        Args:
            pcm: s16le mono.
            rate: its sample rate, Hz.
            realtime: as fast as it would be spoken, instead of up to ``AHEAD_S`` ahead.
        """
        await self.announce(rate)
        step = 2 * round(rate * SLICE_S)
        ahead = 0.0 if realtime else AHEAD_S
        began = self._clock()
        for start in range(0, len(pcm), step):
            await self.push(pcm[start : start + step])
            sent_s = (start + step) / (2 * rate)
            await asyncio.sleep(max(0.0, began + sent_s - ahead - self._clock()))
        await self.commit()

    async def send(self, message: dict[str, Any]) -> None:
        """Send one JSON message of the protocol."""
        await self._write(json.dumps(message))

    def __aiter__(self) -> Self:
        """Iterate to receive until the server closes the session."""
        return self

    async def __anext__(self) -> ReceivedFrame | Event:
        """The next message.

        Raises:
            RequestFailed: the connection broke or fell silent (``lost``).
        """
        try:
            return await self._receive()
        except ConnectionClosed as error:
            if error.rcvd is not None and error.rcvd.code == NORMAL_CLOSURE:
                raise StopAsyncIteration from None
            raise _lost(f"the connection broke: {error}") from error

    async def status(self) -> dict[str, Any]:
        """The server's view of this session: its state and metrics."""
        return await self._rest.status(self._open_ticket())

    async def _attach(self, address: str) -> None:
        try:
            # No keep-alive pings: behind seconds of pushed speech they would come too late.
            self._socket = await connect(address, max_size=None, ping_interval=None)
            first = await self._receive()
        except (OSError, InvalidHandshake, ConnectionClosed) as error:
            raise _lost(f"the WebSocket did not open: {error}") from error
        if not isinstance(first, Event) or first.type != "session.created":
            raise _lost("the server did not begin with session.created")

    async def _receive(self) -> ReceivedFrame | Event:
        try:
            async with asyncio.timeout(SILENCE_S):
                message = await self._open_socket().recv()
        except TimeoutError as error:
            raise _lost(f"nothing came for {SILENCE_S:.0f} s") from error
        if isinstance(message, bytes):
            return unpack(message)
        data = json.loads(message)
        return Event(data["type"], data)

    async def _write(self, message: bytes | str) -> None:
        try:
            await self._open_socket().send(message)
        except ConnectionClosed as error:
            raise _lost(f"the connection broke: {error}") from error

    async def _leave(self) -> None:
        if self._socket is not None:
            await self._socket.close()
        await self._rest.delete(self._open_ticket())

    def _open_socket(self) -> ClientConnection:
        if self._socket is None:
            raise RuntimeError("use the session inside `async with`")
        return self._socket

    def _open_ticket(self) -> Ticket:
        if self._ticket is None:
            raise RuntimeError("use the session inside `async with`")
        return self._ticket


def _lost(why: str) -> RequestFailed:
    return RequestFailed(f"{why}; look at the server's log and try again", code="lost")
