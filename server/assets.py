"""The avatars and clips that come with the server, read once at start.

``avatars.json`` lists {id, name} beside ID.jpg, ``clips.json`` {id, name, text} beside ID.wav. The
generator without weights has a drawn portrait of its own, so that it works with no data at all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import models
from server.errors import NotFound

BUNDLED = Path(models.__file__).parent / "weights"
DRAWN_SIDE = 256


@dataclass(frozen=True, slots=True)
class BundledAvatar:
    """A bundled portrait: a PNG file's bytes."""

    id: str
    name: str
    picture: bytes


@dataclass(frozen=True, slots=True)
class BundledClip:
    """A bundled line of speech: a WAV file's bytes and what it says."""

    id: str
    name: str
    text: str
    sound: bytes


class BundledAssets:
    """Avatars and clips by id, in the order of their lists."""

    def __init__(self, avatars: list[BundledAvatar], clips: list[BundledClip]) -> None:
        self.avatars = avatars
        self.clips = clips

    @classmethod
    def read(cls, folder: Path = BUNDLED, *, draw: bool = False) -> BundledAssets:
        """Read both lists; ``draw`` offers a drawn portrait when there is none."""
        avatars = [
            BundledAvatar(
                entry["id"], entry["name"], (folder / "avatars" / f"{entry['id']}.jpg").read_bytes()
            )
            for entry in _entries(folder / "avatars" / "avatars.json")
        ]
        clips = [
            BundledClip(
                entry["id"],
                entry["name"],
                entry.get("text", ""),
                (folder / "clips" / f"{entry['id']}.wav").read_bytes(),
            )
            for entry in _entries(folder / "clips" / "clips.json")
        ]
        if draw and not avatars:
            avatars = [BundledAvatar("test", "Test portrait", draw_portrait())]
        return cls(avatars, clips)

    def clip(self, clip_id: str) -> BundledClip:
        """The clip; raises NotFound."""
        for clip in self.clips:
            if clip.id == clip_id:
                return clip
        raise NotFound("expected the id of a bundled clip, got another; see GET /clips")


def draw_portrait(side: int = DRAWN_SIDE) -> bytes:
    """A plain drawn face as JPEG."""
    picture = np.full((side, side, 3), 205, np.uint8)
    middle, third = side // 2, side // 3
    cv2.ellipse(picture, (middle, middle), (third * 3 // 4, third), 0, 0, 360, (150, 175, 220), -1)
    for sign in (-1, 1):
        eye = (middle + sign * side // 9, middle - side // 12)
        cv2.circle(picture, eye, side // 28, (60, 50, 40), -1)
    mouth = (middle, middle + side // 7)
    cv2.ellipse(picture, mouth, (side // 11, side // 40), 0, 0, 360, (90, 80, 170), -1)
    done, data = cv2.imencode(".jpg", picture)
    if not done:
        raise RuntimeError("the drawn portrait cannot be encoded as JPEG")
    return data.tobytes()


def _entries(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return entries
