"""Contact sheets for people: rows of frames, whole and around the mouth, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.io.output import whole_file

COLUMNS = 12
CELL = 128
"""Side of a whole frame's cell, pixels; a mouth's cell is as wide and two thirds as high."""
ZOOM_HEIGHT = CELL * 2 // 3
_MARGIN = 18
_PAPER = 245
_INK = (40, 40, 40)

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class MouthBox:
    """Where the mouth is in a frame: its middle (x, y) and the eye-to-mouth distance, pixels."""

    x: float
    y: float
    unit: float


def default_mouth_box(size: tuple[int, int]) -> MouthBox:
    """Where the mouth of a framed portrait is in a frame of (height, width)."""
    height, width = size
    return MouthBox(0.5 * width, 0.73 * height, 0.24 * height)


def mouth_box_of(identity: object, size: tuple[int, int]) -> MouthBox:
    """The mouth of a prepared identity; the default position if it has no portrait."""
    portrait = getattr(identity, "portrait", None)
    mouth, eyes = getattr(portrait, "mouth_xy", None), getattr(portrait, "eyes_xy", None)
    if mouth is None or eyes is None:
        return default_mouth_box(size)
    between = np.asarray(eyes, np.float64).reshape(2, 2).mean(0)
    distance = float(np.linalg.norm(np.asarray(mouth, np.float64) - between))
    return MouthBox(float(mouth[0]), float(mouth[1]), distance)


def thumbnail(frame: Picture) -> Picture:
    """A frame RGB [H, W, 3] in the middle of a cell."""
    height, width = (max(1, round(CELL * n / max(frame.shape[:2]))) for n in frame.shape[:2])
    cell = np.full((CELL, CELL, 3), _PAPER, np.uint8)
    top, left = (CELL - height) // 2, (CELL - width) // 2
    cell[top : top + height, left : left + width] = cv2.resize(
        frame, (width, height), interpolation=cv2.INTER_AREA
    )
    return cell


def mouth_closeup(frame: Picture, mouth: MouthBox) -> Picture:
    """The mouth of a frame RGB [H, W, 3], enlarged to a cell."""
    half = 0.75 * mouth.unit
    scale = CELL / (2 * half)
    shift = (CELL / 2 - scale * mouth.x, ZOOM_HEIGHT / 2 - scale * mouth.y)
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    flat = cv2.warpAffine(
        frame, matrix, (CELL, ZOOM_HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(flat, np.uint8)


def contact_sheet(
    rows: Sequence[tuple[str, Sequence[Picture]]], labels: Sequence[str], columns: int = COLUMNS
) -> Picture:
    """Bands of rows that belong together, ``columns`` cells wide, with a label over each column.

    Args:
        rows: name and cells of each row; all rows have as many cells as there are labels.
        labels: what stands over the columns, for instance seconds.
    """
    bands = []
    for begin in range(0, len(labels), columns):
        part = slice(begin, begin + columns)
        bands.append(_heading(labels[part], columns))
        bands.extend(_row(name, cells[part], columns) for name, cells in rows)
    return np.concatenate(bands)


def save_image(path: Path, picture: Picture) -> None:
    """Write RGB uint8 [H, W, 3] in the format that the name ends with.

    Raises:
        OutputError: it cannot be written.
    """
    kind = Image.registered_extensions()[path.suffix.lower()]
    with whole_file(path) as part:
        Image.fromarray(picture).save(part, kind)


def _heading(labels: Sequence[str], columns: int) -> Picture:
    paper = np.full((_MARGIN, _MARGIN + columns * CELL, 3), _PAPER, np.uint8)
    for k, label in enumerate(labels):
        _write(paper, label, (_MARGIN + k * CELL + 4, _MARGIN - 5))
    return paper


def _row(name: str, cells: Sequence[Picture], columns: int) -> Picture:
    height = cells[0].shape[0]
    paper = np.full((height, _MARGIN + columns * CELL, 3), _PAPER, np.uint8)
    for k, cell in enumerate(cells):
        paper[:, _MARGIN + k * CELL : _MARGIN + (k + 1) * CELL] = cell
    side = np.full((_MARGIN, height, 3), _PAPER, np.uint8)
    _write(side, name, (4, _MARGIN - 5))
    paper[:, :_MARGIN] = np.rot90(side)
    return paper


def _write(paper: Picture, text: str, at: tuple[int, int]) -> None:
    cv2.putText(paper, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, _INK, 1, cv2.LINE_AA)
