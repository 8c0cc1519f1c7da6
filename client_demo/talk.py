"""Records one utterance, from the first push to its last frame: saves and measures what arrives."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from client_demo.client import ClientSession, Event
from client_demo.frames import ReceivedFrame
from client_demo.rest import Format, RequestFailed
from client_demo.saving import SavedRecording
from models.io import console

LATE_S = 0.04  # a frame's time
TAIL_S = 0.4  # saved after the last word, so that the mouth is seen to close


@dataclasses.dataclass
class Talk:
    """What one utterance was like for the caller; the names are those of the JSON line.

    Attributes:
        first_frame_ms: from the first push to the first frame that speaks.
        frames: AV frames saved.
        speaking_frames: of them, those that speak.
        late_units: frames that came more than ``LATE_S`` later than the frame before them says.
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
        """The same as numbers for JSON, rounded to thousandths."""
        return {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in dataclasses.asdict(self).items()
        }


class TalkRecorder:
    """Takes AV frames in order: picks those to save, counts, and measures."""

    def __init__(
        self, recording: SavedRecording, format: Format, clock: Callable[[], float]
    ) -> None:
        """Set ``began`` to the time of the first push; ``first_frame_ms`` is counted from it."""
        self.talk = Talk()
        self.began = 0.0
        self._recording = recording
        self._format = format
        self._clock = clock
        # Since the last keyframe before speech: a group of pictures at most.
        self._idle: list[ReceivedFrame] = []
        self._last: tuple[int, float] | None = None  # index and arrival of the frame before

    def take(self, frame: ReceivedFrame) -> None:
        """Take the next frame."""
        self._measure(frame)
        if self.talk.speaking_frames == 0 and not frame.speaking:
            if frame.keyframe:
                self._idle.clear()
            self._idle.append(frame)
            return
        if self.talk.speaking_frames == 0:
            self._begin(frame)
        self.talk.speaking_frames += frame.speaking
        self._recording.add(frame)
        self.talk.frames = self._recording.frames
        self.talk.saved_s = self._recording.seconds

    def _begin(self, frame: ReceivedFrame) -> None:
        self.talk.first_frame_ms = 1000 * (self._clock() - self.began)
        if frame.keyframe:
            self._idle.clear()
        for idle in self._idle:
            self._recording.add(idle)
        self.talk.lead_in_ms = 1000 * self._recording.frames / self._format.fps
        self._idle.clear()

    def _measure(self, frame: ReceivedFrame) -> None:
        now = self._clock()
        if self._last is not None:
            steps = frame.index - self._last[0]
            due = self._last[1] + steps / self._format.fps
            self.talk.missing_units += max(0, steps - 1)
            self.talk.late_units += now - due > LATE_S
        self._last = (frame.index, now)


async def record_talk(
    session: ClientSession,
    pcm: bytes,
    rate: int,
    out: Path,
    *,
    realtime: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Talk:
    """Open the session, say s16le mono speech, save what arrives until it was spoken.

    Raises:
        RequestFailed: the server refuses, vanishes, or ends the session before the speech did.
        OutputError: ``out`` cannot be written.
    """
    async with session:
        with SavedRecording(out, session.format) as recording:
            recorder = TalkRecorder(recording, session.format, clock)
            recorder.talk.speech_s = len(pcm) / (2 * rate)
            recorder.began = clock()
            saying = asyncio.create_task(session.say(pcm, rate, realtime=realtime), name="say")
            try:
                await _receive(session, recorder, saying)
                await saying
            finally:
                saying.cancel()
                await asyncio.gather(saying, return_exceptions=True)
    return recorder.talk


async def _receive(
    session: ClientSession, recorder: TalkRecorder, saying: asyncio.Task[None]
) -> None:
    """Receive until the speech was spoken and ``TAIL_S`` more of frames have come."""
    tail: int | None = None
    with console.bar("saying", recorder.talk.speech_s, unit="s") as bar:
        async for message in session:
            if isinstance(message, ReceivedFrame):
                recorder.take(message)
                bar.update(min(message.speaking / session.format.fps, bar.total - bar.n))
                if tail is not None:
                    tail -= 1
                    if tail <= 0:
                        return
            elif message.type == "output_audio_buffer.stopped" and saying.done():
                tail = round(TAIL_S * session.format.fps)
            elif message.type == "error":
                raise _server_error(message)
    raise RequestFailed("the server ended the session before the speech was said", code="ended")


def _server_error(event: Event) -> RequestFailed:
    problem = event.data.get("error", {})
    return RequestFailed(
        f"the server says: {problem.get('message')}", code=problem.get("code", "error")
    )
