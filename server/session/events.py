"""The events that callers receive, as the JSON objects that travel."""

from __future__ import annotations

from typing import Any

from server.media.av_frame import OUTPUT_RATE
from server.media.spec import MediaSpec

Event = dict[str, Any]


def created(session: str, spec: MediaSpec, codec: str, epoch: int) -> Event:
    """First on every socket: what the session is."""
    return {
        "type": "session.created",
        "session_id": session,
        "video": video(spec, codec),
        "audio": {"output_sample_rate": OUTPUT_RATE},
        "generation": epoch,
    }


def video(spec: MediaSpec, codec: str) -> dict[str, Any]:
    """The picture's size, rate and codec."""
    height, width = spec.size
    return {"width": width, "height": height, "fps": spec.fps, "codec": codec}


def updated(rate: int, channels: int) -> Event:
    """The announced form of incoming sound is taken."""
    return {"type": "session.updated", "audio": {"sample_rate": rate, "channels": channels}}


def state(name: str) -> Event:
    """What the avatar does: ``idle``, ``listening`` or ``talking``."""
    return {"type": "avatar.state_updated", "state": name}


def playback(name: str, segment: str, position_ms: int) -> Event:
    """A segment ``started``, ``stopped`` or was ``cleared``."""
    event: Event = {"type": f"output_audio_buffer.{name}", "segment_id": segment}
    if name != "started":
        event["playback_position_ms"] = position_ms
    return event


def metrics(values: dict[str, Any]) -> Event:
    """How the session does, about once a second."""
    return {"type": "metrics.updated", **values}


def queued(place: int) -> Event:
    """The session waits for a place; 1 is the next."""
    return {"type": "session.queued", "queue_position": place}


def ready() -> Event:
    """The session that waited has its place."""
    return {"type": "session.ready"}


def going_away(reason: str, in_ms: int) -> Event:
    """The session ends in ``in_ms`` milliseconds."""
    return {"type": "session.going_away", "reason": reason, "in_ms": in_ms}


def closed(reason: str) -> Event:
    """The session ends now; nothing follows."""
    return {"type": "session.closed", "reason": reason}


def error(code: str, message: str) -> Event:
    """A message was not understood, or the session broke; the first harms nothing."""
    return {"type": "error", "error": {"code": code, "message": message}}


def pong() -> Event:
    """The answer to a ping."""
    return {"type": "pong"}
