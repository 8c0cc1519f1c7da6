"""Holds one utterance from first push to last unit: saves what arrives and measures it."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from client_demo.client import ClientSession, Event
from client_demo.rest import Format, RequestFailed
from client_demo.saving import SavedRecording
from client_demo.units import ReceivedFrame
from models.io import console

LATE_S = 0.04  # a frame's time
TAIL_S = 0.4  # kept after the last word, so that the mouth is seen to close


@dataclasses.dataclass
class Talk:
    """What one utterance was like, as seen by the caller.

    Attributes:
        first_frame_ms: from the first push to the first frame that speaks.
        frames: units saved.
        speaking_frames: of them, those that speak.
        late_units: units that came more than ``LATE_S`` later than the unit before them says.
        missing_units: frames that the server dropped on the way.
        lead_in_ms: how long the saved file idles before it speaks.
        speech_s: length of the speech that was pushed.
        saved_s: length of the saved file.
    """

    first_frame_ms: float = 0.0
    frames: int = 0
    speaking_frames: int = 0
    late_units: int = 0
    missing_units: int = 0
    lead_in_ms: float = 0.0
    speech_s: float = 0.0
    saved_s: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        return {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in dataclasses.asdict(self).items()
        }


class Listener:
    """Takes units in order: picks those to save, counts, and measures."""

    def __init__(self, recording: SavedRecording, form: Format, clock: Callable[[], float]) -> None:
        """Nothing is saved before ``began`` is set to the time of the first push."""
        self.talk = Talk()
        self.began = 0.0
        self._recording = recording
        self._form = form
        self._clock = clock
        self._held: list[ReceivedFrame] = []  # since the last keyframe before speech: a GOP at most
        self._last: tuple[int, float] | None = None  # index and arrival of the unit before

    def take(self, unit: ReceivedFrame) -> None:
        """Take the next unit."""
        self._watch(unit)
        if self.talk.speaking_frames == 0 and not unit.speaking:
            if unit.keyframe:
                self._held.clear()
            self._held.append(unit)
            return
        if self.talk.speaking_frames == 0:
            self._begin(unit)
        self.talk.speaking_frames += unit.speaking
        self._recording.add(unit)
        self.talk.frames = self._recording.frames
        self.talk.saved_s = self._recording.seconds

    def _begin(self, unit: ReceivedFrame) -> None:
        self.talk.first_frame_ms = 1000 * (self._clock() - self.began)
        if unit.keyframe:
            self._held.clear()
        for held in self._held:
            self._recording.add(held)
        self.talk.lead_in_ms = 1000 * self._recording.frames / self._form.fps
        self._held.clear()

    def _watch(self, unit: ReceivedFrame) -> None:
        now = self._clock()
        if self._last is not None:
            steps = unit.index - self._last[0]
            due = self._last[1] + steps / self._form.fps
            self.talk.missing_units += max(0, steps - 1)
            self.talk.late_units += now - due > LATE_S
        self._last = (unit.index, now)


async def hold(
    session: ClientSession,
    pcm: bytes,
    rate: int,
    out: Path,
    *,
    realtime: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Talk:
    """Open the session, say s16le mono speech, save what arrives until it has been said.

    Raises:
        RequestFailed: the server refuses, vanishes, or ends the session before the speech did.
        OSError: ``out`` cannot be written.
    """
    async with session:
        with SavedRecording(out, session.format) as recording:
            listener = Listener(recording, session.format, clock)
            listener.talk.speech_s = len(pcm) / (2 * rate)
            listener.began = clock()
            saying = asyncio.create_task(session.say(pcm, rate, realtime=realtime), name="say")
            try:
                await _listen(session, listener, saying)
                await saying
            finally:
                saying.cancel()
                await asyncio.gather(saying, return_exceptions=True)
    return listener.talk


async def _listen(session: ClientSession, listener: Listener, saying: asyncio.Task[None]) -> None:
    """Take units until the speech was said and ``TAIL_S`` more have come."""
    tail: int | None = None
    with console.bar("saying", listener.talk.speech_s, unit="s") as bar:
        async for message in session:
            if isinstance(message, ReceivedFrame):
                listener.take(message)
                bar.update(min(message.speaking / session.format.fps, bar.total - bar.n))
                if tail is not None:
                    tail -= 1
                    if tail <= 0:
                        return
            elif message.type == "output_audio_buffer.stopped" and saying.done():
                tail = round(TAIL_S * session.format.fps)
            elif message.type == "error":
                raise _ended(message)
    raise RequestFailed("the server ended the session before the speech was said", code="ended")


def _ended(event: Event) -> RequestFailed:
    facts = event.data.get("error", {})
    return RequestFailed(
        f"the server says: {facts.get('message')}", code=facts.get("code", "error")
    )
