"""A folder of portraits: which of them can be made to speak, and their split."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.dataset.clips import Split
from models.errors import LiveheadError, PortraitError
from models.face.landmarks import Landmarks, steady_landmarks
from models.face.portrait import find_face
from models.io.image import load_image

ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
HELD_OUT_EVERY = 16
"""In a folder without an index, every so many portraits are held out."""
MAX_YAW = np.radians(22)
"""Beyond it the far side of the mouth is hidden."""
MIN_UNIT = 38.0
"""Least distance from eyes to mouth, pixels."""
MAX_GAP = 0.42
"""Widest opening of the mouth at rest, as a share of its width, that can still be closed."""
_LIPS, _CORNERS = (13, 14), (61, 291)


@dataclass(frozen=True)
class PortraitFile:
    """One file of the folder.

    Attributes:
        number: tells people apart; clips name it.
        glasses: the person wears some, as far as the index knows.
    """

    number: int
    path: Path
    split: Split
    glasses: bool = False


@dataclass(frozen=True)
class FoundPortrait:
    """A portrait that can be used: RGB uint8 [H, W, 3] and its face."""

    picture: NDArray[np.uint8]
    landmarks: Landmarks


def list_portraits(folder: Path) -> list[PortraitFile]:
    """All portraits of a folder, by its ``index.json`` where it has one.

    That is a list of {id, file, split, glasses}; without it all pictures below the folder are
    taken in the order of their paths, and every ``HELD_OUT_EVERY``-th is held out.

    Raises:
        LiveheadError: the folder holds none (``bad_option``).
    """
    index = folder / "index.json"
    if index.is_file():
        rows = json.loads(index.read_text(encoding="utf-8"))
        return [
            PortraitFile(
                int(row["id"]), folder / row["file"], row["split"], bool(row.get("glasses"))
            )
            for row in rows
        ]
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS)
    if not paths:
        raise LiveheadError(
            f"expected pictures ({', '.join(ENDINGS)}) in {folder}, found none", code="bad_option"
        )
    return [
        PortraitFile(k, path, "held_out" if k % HELD_OUT_EVERY == HELD_OUT_EVERY - 1 else "train")
        for k, path in enumerate(paths)
    ]


def find_portrait(source: PortraitFile) -> FoundPortrait:
    """The portrait of a source.

    Raises:
        PortraitError: it cannot be made to speak well: no face, too small, turned aside, or the
            mouth too wide open.
    """
    picture = load_image(source.path.read_bytes())
    landmarks = steady_landmarks(picture, find_face(picture))
    points = landmarks.points
    if landmarks.unit < MIN_UNIT:
        raise PortraitError(
            f"the face is small ({landmarks.unit:.0f} pixels)", code="face_too_small"
        )
    if abs(landmarks.yaw) > MAX_YAW:
        raise PortraitError("the face is turned aside", code="face_turned")
    gap = np.linalg.norm(points[_LIPS[0], :2] - points[_LIPS[1], :2])
    width = np.linalg.norm(points[_CORNERS[0], :2] - points[_CORNERS[1], :2])
    if gap > MAX_GAP * width:
        raise PortraitError("the mouth is wide open", code="mouth_open")
    return FoundPortrait(picture, landmarks)
