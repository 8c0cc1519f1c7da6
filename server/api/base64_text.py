"""Base64 text in bodies and messages, as bytes; text that is not base64 is refused whole."""

from __future__ import annotations

import base64
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema


def _decode(value: object) -> bytes:
    """The bytes of base64 text, or of a data: URL."""
    if not isinstance(value, str):
        raise ValueError("not base64 text")
    text = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise ValueError("not base64 text") from error


Base64 = Annotated[
    bytes,
    BeforeValidator(_decode),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]
