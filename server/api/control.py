"""What one connection of a caller says: speech and messages; a bad message costs an error event."""

from __future__ import annotations

from collections.abc import Callable

from models.errors import LiveheadError
from server.api import messages
from server.errors import Conflict
from server.media.resampler import AudioFormat
from server.session import events
from server.session.events import Event
from server.session.inbox import SpeechSource
from server.session.session import Session

INPUT_RATE = 16_000


class Control:
    """One connection's side of the protocol, whatever carries it.

    Nothing but sound and a commit waits for the sound before it.
    """

    def __init__(self, session: Session, tell: Callable[[Event], None]) -> None:
        """``tell`` answers this connection alone."""
        self._session = session
        self._tell = tell
        self._source = SpeechSource(session.inbox, AudioFormat(INPUT_RATE))

    async def take(self, message: str | bytes) -> None:
        """Take a JSON message, or s16le cut anywhere where it is bytes; waits until there is room.

        Raises:
            Conflict: the session ends.
        """
        if isinstance(message, bytes):
            await self._take_sound(message)
        else:
            await self._take_message(message)

    async def _take_sound(self, pcm: bytes) -> None:
        self._source.push(pcm)
        await self._session.inbox.wait_for_room()

    async def _take_message(self, text: str) -> None:
        event_id = None
        try:
            message = messages.read_message(text)
            event_id = message.event_id
            await self._act(message)
        except messages.BadMessage as error:
            self._tell(events.error(error.code, str(error), event_id=error.event_id))
        except Conflict:
            raise
        except LiveheadError as error:
            self._tell(events.error(error.code, str(error), event_id=event_id))

    async def _act(self, message: messages.Message) -> None:
        session = self._session
        match message:
            case messages.SessionUpdate(audio=audio):
                self._source.announce(AudioFormat(audio.sample_rate, audio.channels))
                self._tell(events.updated(audio.sample_rate, audio.channels))
            case messages.Append(audio=pcm):
                await self._take_sound(pcm)
            case messages.Commit():
                session.inbox.end_segment()
                await session.inbox.wait_for_room()
            case messages.Clear():
                session.inbox.clear()
            case messages.Cancel():
                session.interrupt()
            case messages.Ping():
                self._tell(events.pong())
