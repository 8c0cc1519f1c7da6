"""The JSON messages that a WebSocket caller may send, validated."""

from __future__ import annotations

import json
from typing import Annotated, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    TypeAdapter,
    ValidationError,
)

from server.api.base64_text import Base64
from server.api.bodies import explain
from server.errors import BadRequest
from server.media.resampler import MAX_CHANNELS, MAX_RATE, MIN_RATE

MAX_EVENT_ID = 512


class _Message(BaseModel):
    """Fields that we do not know are ignored, so that clients may be newer than the server."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    event_id: str | None = Field(
        default=None,
        max_length=MAX_EVENT_ID,
        description="The caller's own name for this message; an error that it costs tells it.",
        examples=["event_12"],
    )


class AudioForm(BaseModel):
    """The form of the sound that follows."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    sample_rate: Annotated[StrictInt, Field(ge=MIN_RATE, le=MAX_RATE, examples=[24_000])]
    channels: Annotated[StrictInt, Field(ge=1, le=MAX_CHANNELS)] = 1


class SessionUpdate(_Message):
    """Announces the form of the sound that follows."""

    type: Literal["session.update"]
    audio: AudioForm


class Append(_Message):
    """Sound as base64, for clients that send no binary messages; it may be cut at any byte too."""

    type: Literal["input_audio_buffer.append"]
    audio: Base64 = Field(examples=["AAABAAIA"])


class Commit(_Message):
    """The segment ends here."""

    type: Literal["input_audio_buffer.commit"]


class Clear(_Message):
    """Drop queued speech that was not cut yet."""

    type: Literal["input_audio_buffer.clear"]


class Cancel(_Message):
    """Stop speaking now: drop what is queued and what plays; both names mean the same."""

    type: Literal["response.cancel", "output_audio_buffer.clear"]


class Ping(_Message):
    """Asks for a pong."""

    type: Literal["ping"]


Message = SessionUpdate | Append | Commit | Clear | Cancel | Ping

_ADAPTER: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])
_TYPES = ", ".join(
    kind for model in get_args(Message) for kind in get_args(model.model_fields["type"].annotation)
)


class BadMessage(BadRequest):
    """Raised when a message cannot be understood.

    Attributes:
        event_id: the caller's own name for it, where it had one.
    """

    def __init__(self, message: str, *, code: str | None = None, event_id: str | None = None):
        super().__init__(message, code=code)
        self.event_id = event_id


def read_message(text: str) -> Message:
    """One message from its text.

    Raises:
        BadMessage: not a JSON object (``bad_json``), an unknown ``type`` (``unknown_type``), or a
            wrong field (``bad_request``).
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadMessage(
            "expected JSON text, got something else; send sound as binary messages",
            code="bad_json",
        ) from error
    if not isinstance(value, dict):
        raise BadMessage("expected a JSON object with a type, got another value", code="bad_json")
    try:
        return _ADAPTER.validate_python(value)
    except ValidationError as error:
        event_id = value.get("event_id")
        if not isinstance(event_id, str) or len(event_id) > MAX_EVENT_ID:
            event_id = None
        kinds = {item["type"] for item in error.errors(include_url=False, include_input=False)}
        if kinds & {"union_tag_invalid", "union_tag_not_found"}:
            raise BadMessage(
                f"expected a type among {_TYPES}; got another",
                code="unknown_type",
                event_id=event_id,
            ) from error
        raise BadMessage(explain(error.errors()), event_id=event_id) from error
