"""Finds the picture of a bundled avatar by its id."""

from __future__ import annotations

import json
from pathlib import Path

from models.errors import PortraitError
from models.weights.bundled import WEIGHTS

AVATARS = WEIGHTS / "avatars"


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
    return folder / f"{name or names[0]}.png"
