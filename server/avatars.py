"""The server's avatars: the bundled ones, and those that were added, on disk.

An added one is a folder named by its content, with ``portrait`` (the image file) and
``avatar.json`` {id, name, sha256, box, added}. It is written beside and moved into place. One whose
portrait is not what its checksum says is never shown; adding the picture again mends it.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from models.io.face_box import FaceBox
from server.assets import BundledAvatar
from server.errors import Conflict, NotFound, StoreError

log = logging.getLogger(__name__)

RECORD, PORTRAIT = "avatar.json", "portrait"
PREPARED = "prepared"
"""Folder beside the avatars in which workers keep what they prepared."""
KINDS = ((b"\xff\xd8", "image/jpeg"), (b"\x89PNG", "image/png"), (b"RIFF", "image/webp"))


def content_hash(portrait: bytes, box: Sequence[float] | None = None) -> str:
    """SHA-256 of an image file's bytes, hexadecimal, and of the box in it where there is one: equal
    ones are prepared once, under this name."""
    name = sha256(portrait).hexdigest()
    if box is None:
        return name
    return f"{name}-{sha256(repr(tuple(float(side) for side in box)).encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Avatar:
    """A portrait that sessions may name.

    Attributes:
        picture: an image file.
        box: around the face to take of several.
        bundled: it comes with the server and stays.
    """

    id: str
    name: str
    picture: bytes
    box: FaceBox | None = None
    bundled: bool = True

    @property
    def media_type(self) -> str:
        """Of the picture."""
        return next(
            (kind for start, kind in KINDS if self.picture.startswith(start)),
            "application/octet-stream",
        )


class AvatarStore:
    """Avatars by id: bundled ones, then added ones in the order of their addition."""

    def __init__(self, bundled: list[BundledAvatar], folder: Path, limit: int) -> None:
        self._bundled = {item.id: Avatar(item.id, item.name, item.picture) for item in bundled}
        self._folder = folder
        self._limit = limit
        self._changes = threading.Lock()  # requests are served by several threads

    @property
    def prepared(self) -> Path:
        """Where workers keep what they prepared."""
        return self._folder / PREPARED

    def all(self) -> list[Avatar]:
        """All that can be shown."""
        added = [(record, self._read(record)) for record in self._records()]
        added.sort(key=lambda item: str(item[0].get("added")))
        return [*self._bundled.values(), *(avatar for _, avatar in added if avatar is not None)]

    def get(self, avatar_id: str) -> Avatar:
        """One avatar.

        Raises:
            NotFound: there is none of that id, or its picture was damaged.
        """
        if avatar_id in self._bundled:
            return self._bundled[avatar_id]
        avatar = None
        if avatar_id.isalnum():
            record = self._record(self._folder / avatar_id)
            avatar = self._read(record) if record else None
        if avatar is None:
            raise NotFound("expected the id of an avatar, got another; see GET /avatars")
        return avatar

    def add(self, name: str, picture: bytes, box: FaceBox | None = None) -> Avatar:
        """Keep a picture; the same one again keeps its id and takes the new name.

        Raises:
            Conflict: there are as many as there may be.
            StoreError: the folder cannot be written.
        """
        digest = sha256(picture).hexdigest()
        avatar = Avatar(digest[:20], name, picture, box, bundled=False)
        record = {
            "id": avatar.id,
            "name": name,
            "sha256": digest,
            "box": box,
            "added": datetime.now(UTC).isoformat(),
        }
        place = self._folder / avatar.id
        with self._changes:
            if not place.exists() and len(self._records()) >= self._limit:
                raise Conflict(
                    f"expected at most {self._limit} added avatars, got one more; remove one first",
                    code="too_many_avatars",
                )
            try:
                self._write(place, picture, record)
            except OSError as error:
                raise StoreError(
                    f"expected a folder for avatars that can be written, got: {error.strerror};"
                    " set LIVEHEAD_AVATARS_DIR"
                ) from error
        return avatar

    def remove(self, avatar_id: str) -> Avatar:
        """Forget an added avatar, and what was prepared of it, whichever face.

        Raises:
            NotFound: there is none of that id.
            Conflict: it is a bundled one.
            StoreError: the folder cannot be written.
        """
        avatar = self.get(avatar_id)
        if avatar.bundled:
            raise Conflict("expected an avatar that was added, got a bundled one; it stays")
        try:
            with self._changes:
                shutil.rmtree(self._folder / avatar_id)
            for prepared in self.prepared.glob(f"*/{content_hash(avatar.picture)}*"):
                prepared.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"the avatar cannot be removed: {error.strerror}") from error
        return avatar

    def _write(self, place: Path, picture: bytes, record: dict[str, Any]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".adding-", dir=self._folder))
        try:
            (partial / PORTRAIT).write_bytes(picture)
            (partial / RECORD).write_text(json.dumps(record), encoding="utf-8")
            if place.exists():
                shutil.rmtree(place)
            partial.rename(place)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    def _records(self) -> list[dict[str, Any]]:
        if not self._folder.is_dir():
            return []
        found = (self._record(place) for place in self._folder.iterdir() if place.name.isalnum())
        return [record for record in found if record is not None]

    def _record(self, place: Path) -> dict[str, Any] | None:
        try:
            record = json.loads((place / RECORD).read_text(encoding="utf-8"))
            return record if record["id"] == place.name else None
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def _read(self, record: dict[str, Any]) -> Avatar | None:
        """The avatar of a record, if its picture is what was added."""
        try:
            picture = (self._folder / record["id"] / PORTRAIT).read_bytes()
            if sha256(picture).hexdigest() != record["sha256"]:
                raise ValueError("checksum")
            box = record.get("box")
            return Avatar(
                record["id"],
                str(record["name"]),
                picture,
                None if box is None else (box[0], box[1], box[2], box[3]),
                bundled=False,
            )
        except (OSError, ValueError, LookupError, TypeError):
            log.warning("avatar %s is damaged and not shown; add its picture again", record["id"])
            return None
