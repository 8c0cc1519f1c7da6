"""GET /asyncapi.json: what travels on a session's connections, in AsyncAPI 3.0.

It is made of the models that the server itself validates and sends with.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, get_args

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from server.api.messages import Message
from server.session.events import EVENTS

router = APIRouter()

SCHEMAS = "#/components/schemas/{model}"
DESCRIPTION = """
Every connection begins with `session.created`. Every event and message is a JSON object with a
`type`; fields that a reader does not know are to be ignored.

On the WebSocket, binary messages to the server are sound, s16le in the form that `session.update`
announced (16 kHz mono until then), cut at any byte. Binary messages from the server are frames: a
header of 20 bytes, little-endian (`LHU1`; uint16 flags: 1 keyframe, 2 speaking, 4 JPEG; uint16
generation; uint32 index, bytes of picture, bytes of sound), then the encoded picture, then its
sound, s16le mono at 48 kHz.

Server-sent events carry the same events; their `event` is the type.
"""


@router.get("/asyncapi.json", include_in_schema=False)
async def described() -> JSONResponse:
    """The description."""
    return JSONResponse(description())


@cache
def description() -> dict[str, Any]:
    """The AsyncAPI document."""
    messages = get_args(Message)
    _, schemas = models_json_schema(
        [(model, "validation") for model in (*messages, *EVENTS)], ref_template=SCHEMAS
    )
    sent, received = _named(EVENTS), _named(messages)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Livehead", "version": "0.1.0", "description": DESCRIPTION.strip()},
        "defaultContentType": "application/json",
        "channels": {
            "socket": _channel(
                "/session/{session_id}/stream", "A WebSocket.", {**sent, **received}
            ),
            "call": _channel(
                "/session/{session_id}/offer",
                "A data channel, of any label, that the caller opens in a WebRTC call.",
                {**sent, **received},
            ),
            "events": _channel("/session/{session_id}/events", "Server-sent events.", sent),
        },
        "operations": {
            "sendToSocket": _operation("send", "socket", sent),
            "receiveFromSocket": _operation("receive", "socket", received),
            "sendToCall": _operation("send", "call", sent),
            "receiveFromCall": _operation("receive", "call", received),
            "sendEvents": _operation("send", "events", sent),
        },
        "components": {"messages": {**sent, **received}, "schemas": schemas["$defs"]},
    }


def _named(models: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    """A message object for each model, by its ``type``."""
    return {kind: _message(kind, model) for model in models for kind in _kinds(model)}


def _kinds(model: type[BaseModel]) -> tuple[str, ...]:
    return get_args(model.model_fields["type"].annotation)


def _message(kind: str, model: type[BaseModel]) -> dict[str, Any]:
    return {
        "name": kind,
        "summary": (model.__doc__ or "").strip(),
        "payload": {"$ref": SCHEMAS.format(model=model.__name__)},
        "examples": [{"payload": {**example(model), "type": kind}}],
    }


def example(model: type[BaseModel]) -> dict[str, Any]:
    """An example of a model: that of each field, its default where it has none."""
    values = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        if field.examples:
            values[name] = field.examples[0]
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            values[name] = example(kind)
        elif field.is_required():
            values[name] = get_args(kind)[0]
        elif field.default is not None:
            values[name] = field.default
    return json.loads(json.dumps(values))  # type: ignore[no-any-return]


def _channel(address: str, description: str, messages: dict[str, Any]) -> dict[str, Any]:
    return {
        "address": address,
        "description": description,
        "parameters": {"session_id": {"description": "As POST /session answered it."}},
        "messages": {kind: {"$ref": f"#/components/messages/{kind}"} for kind in messages},
    }


def _operation(action: str, channel: str, messages: dict[str, Any]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{kind}"} for kind in messages],
    }
