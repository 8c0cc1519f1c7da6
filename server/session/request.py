"""What a caller wants a session for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.io.face_box import FaceBox

Mode = Literal["speak", "echo"]
LOOPBACK: Mode = "echo"  # the microphone's sound is spoken; the word is the API's


@dataclass(frozen=True, slots=True)
class Owner:
    """Who opens sessions, a key's holder or an address, and how many of them and of such requests
    a minute they may; 0 is any number."""

    name: str = ""
    max_sessions: int = 0
    requests_per_minute: int = 0


NOBODY = Owner()


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """What ``POST /session`` asks for.

    Attributes:
        portrait: an image file.
        mode: what the portrait says: what is pushed, or what its caller's microphone hears.
        avatar_id: where the portrait is one of the server's.
        box: chooses a face in the portrait.
        listening: the portrait nods to its caller, where the settings let it.
        owner: who asks.
        disclosure: the picture is labelled as generated, as it is wherever the settings say so.
    """

    portrait: bytes
    mode: Mode = "speak"
    avatar_id: str | None = None
    box: FaceBox | None = None
    listening: bool = True
    owner: Owner = NOBODY
    disclosure: bool = False
