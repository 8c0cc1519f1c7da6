"""The events that callers receive, one list for every way they travel: their names and fields.

An event travels as a JSON object (``Event``); ``/asyncapi.json`` describes them all.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from server.media.av_frame import OUTPUT_RATE
from server.media.spec import MediaSpec

Event = dict[str, Any]


class VideoShown(BaseModel):
    """The picture's size in pixels, frames a second, codec."""

    width: int = Field(examples=[512])
    height: int = Field(examples=[512])
    fps: float = Field(examples=[25.0])
    codec: str = Field(examples=["h264"])


class AudioShown(BaseModel):
    """What is sent: s16le mono at this rate, Hz."""

    output_sample_rate: int = Field(examples=[OUTPUT_RATE])


class AudioTaken(BaseModel):
    """The form of incoming sound: s16le at this rate, Hz, so many channels interleaved."""

    sample_rate: int = Field(examples=[24_000])
    channels: int = Field(examples=[1])


class SessionBegun(BaseModel):
    """First on every connection: what the session is."""

    type: Literal["session.created"] = "session.created"
    session_id: str = Field(examples=["sess_Yh2vJk3m5n7p9q1s"])
    video: VideoShown
    audio: AudioShown
    generation: int = Field(examples=[0], description="How many interrupts there were.")


class SessionQueued(BaseModel):
    """The session waits for a place; told again whenever it moves up."""

    type: Literal["session.queued"] = "session.queued"
    queue_position: int = Field(examples=[2], description="1 is the next.")


class SessionReady(BaseModel):
    """The session that waited has its place."""

    type: Literal["session.ready"] = "session.ready"


class SessionUpdated(BaseModel):
    """The announced form of incoming sound is taken."""

    type: Literal["session.updated"] = "session.updated"
    audio: AudioTaken


class SessionGoingAway(BaseModel):
    """The session will end."""

    type: Literal["session.going_away"] = "session.going_away"
    reason: str = Field(examples=["max_duration"], description="max_duration or shutdown.")
    in_ms: int = Field(examples=[30_000])


class SessionClosed(BaseModel):
    """The session ends now; nothing follows."""

    type: Literal["session.closed"] = "session.closed"
    reason: str = Field(
        examples=["deleted"],
        description="deleted, idle_timeout, max_duration, shutdown, caller_gone, admin, the code of"
        " an error such as worker_lost, or internal.",
    )


class AvatarState(BaseModel):
    """What the avatar does."""

    type: Literal["avatar.state_updated"] = "avatar.state_updated"
    state: str = Field(examples=["talking"], description="idle, listening or talking.")


class BufferStarted(BaseModel):
    """The first frame of a segment of speech plays; once for each segment."""

    type: Literal["output_audio_buffer.started"] = "output_audio_buffer.started"
    segment_id: str = Field(examples=["seg_1"])


class BufferStopped(BaseModel):
    """The last frame of a segment was played; once for each that was not cleared."""

    type: Literal["output_audio_buffer.stopped"] = "output_audio_buffer.stopped"
    segment_id: str = Field(examples=["seg_1"])
    playback_position_ms: int = Field(examples=[2480], description="How much of it was played.")


class BufferCleared(BaseModel):
    """An interrupt, or the session's end, cut a segment off; once for each that was cleared."""

    type: Literal["output_audio_buffer.cleared"] = "output_audio_buffer.cleared"
    segment_id: str = Field(examples=["seg_1"])
    playback_position_ms: int = Field(examples=[1320], description="How much of it was played.")


class MetricsUpdated(BaseModel):
    """How the session does, about once a second; the fields are those of GET /session/{id}."""

    type: Literal["metrics.updated"] = "metrics.updated"
    first_frame_ms: float | None = Field(examples=[118.4])
    ms_per_frame: float = Field(examples=[17.2])
    batch: int = Field(examples=[1])
    units: int = Field(examples=[250])
    dropped_units: int = Field(examples=[0])
    buffered_ms: int = Field(examples=[480])
    late_units: int = Field(examples=[0])
    skipped_units: int = Field(examples=[0])
    dropped_input_ms: int = Field(examples=[0])
    lead_ms: int = Field(examples=[140])
    generation: int = Field(examples=[0])


class ErrorDetail(BaseModel):
    """What was wrong."""

    type: Literal["invalid_request_error", "server_error"]
    code: str = Field(examples=["unknown_type"], description="Stable.")
    message: str = Field(examples=["expected a type among session.update, ...; got another"])
    event_id: str | None = Field(
        default=None,
        examples=["event_12"],
        description="That of the message which was wrong, where it had one.",
    )


class ErrorTold(BaseModel):
    """A message was not understood, which harms nothing; or the session broke, and ends."""

    type: Literal["error"] = "error"
    error: ErrorDetail


class Pong(BaseModel):
    """The answer to a ping."""

    type: Literal["pong"] = "pong"


EVENTS: tuple[type[BaseModel], ...] = (
    SessionBegun,
    SessionQueued,
    SessionReady,
    SessionUpdated,
    SessionGoingAway,
    SessionClosed,
    AvatarState,
    BufferStarted,
    BufferStopped,
    BufferCleared,
    MetricsUpdated,
    ErrorTold,
    Pong,
)
"""Every event that there is."""


def created(session: str, spec: MediaSpec, codec: str, epoch: int) -> Event:
    """First on every connection."""
    return SessionBegun(
        session_id=session,
        video=video(spec, codec),
        audio=AudioShown(output_sample_rate=OUTPUT_RATE),
        generation=epoch,
    ).model_dump()


def video(spec: MediaSpec, codec: str) -> VideoShown:
    """The picture's size, rate and codec."""
    height, width = spec.size
    return VideoShown(width=width, height=height, fps=spec.fps, codec=codec)


def queued(place: int) -> Event:
    """The session waits for a place; 1 is the next."""
    return SessionQueued(queue_position=place).model_dump()


def ready() -> Event:
    """The session that waited has its place."""
    return SessionReady().model_dump()


def updated(rate: int, channels: int) -> Event:
    """The announced form of incoming sound is taken."""
    return SessionUpdated(audio=AudioTaken(sample_rate=rate, channels=channels)).model_dump()


def going_away(reason: str, in_ms: int) -> Event:
    """The session ends in ``in_ms`` milliseconds."""
    return SessionGoingAway(reason=reason, in_ms=in_ms).model_dump()


def closed(reason: str) -> Event:
    """The session ends now."""
    return SessionClosed(reason=reason).model_dump()


def state(name: str) -> Event:
    """What the avatar does: ``idle``, ``listening`` or ``talking``."""
    return AvatarState(state=name).model_dump()


def playback(name: str, segment: str, position_ms: int) -> Event:
    """A segment ``started``, ``stopped`` or was ``cleared``."""
    if name == "started":
        return BufferStarted(segment_id=segment).model_dump()
    ended = BufferStopped if name == "stopped" else BufferCleared
    return ended(segment_id=segment, playback_position_ms=position_ms).model_dump()


def metrics(values: dict[str, Any]) -> Event:
    """How the session does."""
    return MetricsUpdated(**values).model_dump()


def error(code: str, message: str, *, event_id: str | None = None, ours: bool = False) -> Event:
    """A message was not understood, or (``ours``) the session broke."""
    kind: Literal["invalid_request_error", "server_error"] = (
        "server_error" if ours else "invalid_request_error"
    )
    detail = ErrorDetail(type=kind, code=code, message=message, event_id=event_id)
    return ErrorTold(error=detail).model_dump(exclude_none=True)


def pong() -> Event:
    """The answer to a ping."""
    return Pong().model_dump()
