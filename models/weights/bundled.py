"""Bundled files: weights checked against their pinned SHA-256, and the avatars' pictures."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from models.errors import PortraitError, WeightsError

WEIGHTS = Path(__file__).parent
AVATARS = WEIGHTS / "avatars"


def read_pinned(path: Path, sha256: str) -> bytes:
    """The content of ``path`` if its SHA-256 is ``sha256``.

    Raises:
        WeightsError: the file is missing (``missing_weights``) or another one (``bad_weights``).
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"expected the bundled weights file {path}, got {error.strerror or error};"
            " install Livehead again",
            code="missing_weights",
        ) from error
    got = hashlib.sha256(content).hexdigest()
    if got != sha256:
        raise WeightsError(
            f"expected {path} with SHA-256 {sha256}, got {got} ({len(content)} bytes);"
            " the file is damaged or not the bundled one: install Livehead again",
            code="bad_weights",
        )
    return content


def avatar_picture(name: str | None = None, folder: Path = AVATARS) -> Path:
    """The picture file of an avatar, of the first one if no name is given.

    Raises:
        PortraitError: ``unknown_avatar``: there is none of that id, or none at all.
    """
    try:
        rows = json.loads((folder / "avatars.json").read_text(encoding="utf-8"))
        names = [str(row["id"]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PortraitError(
            f"expected a list of avatars in {folder}, got none; give a portrait instead",
            code="unknown_avatar",
        ) from error
    if not names or (name is not None and name not in names):
        raise PortraitError(
            f"expected an avatar out of: {', '.join(names) or 'none'}; got {name!r}",
            code="unknown_avatar",
        )
    return folder / f"{name or names[0]}.jpg"
