"""Writes what people look at: strips of truth beside generated, and the curves of both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.dataset.clips import FPS
from models.evaluation.compare import Reading
from models.evaluation.eval_clip import EvalClip
from models.evaluation.plots import plot_tracks
from models.io.contact_sheet import MouthBox, contact_sheet, mouth_closeup, save_image, thumbnail

PICTURES = 24

Frames = NDArray[np.uint8]
Curves = dict[str, NDArray[np.float64]]


def draw_clip(
    folder: Path, subject: EvalClip, generated: Frames, made: Reading, true: Reading
) -> list[Path]:
    """Write a long strip, a strip of the liveliest second, and the curves; returns the files."""
    name = subject.clip.name
    between = subject.eyes_xy.mean(1)
    unit = float(np.median(np.linalg.norm(subject.mouth_xy - between, axis=1)))
    places = [MouthBox(float(x), float(y), unit) for x, y in subject.mouth_xy]
    videos = {"truth": subject.truth, "generated": generated}
    begin = liveliest(true.jaw() if true.mouth is not None else true.gap(), subject.frames)
    files = []
    for kind, numbers in (
        ("long", np.unique(np.linspace(0, subject.frames - 1, PICTURES).astype(int))),
        ("second", np.arange(begin, min(begin + PICTURES, subject.frames))),
    ):
        path = folder / f"clip_{name}_{kind}.png"
        save_strip(path, videos, places, numbers)
        files.append(path)
    panels = curves_of({"truth": true, "generated": made})
    if panels:
        path = folder / f"clip_{name}_curves.png"
        plot_tracks(path, f"clip {name}", panels, FPS, subject.lips.tolist())
        files.append(path)
    return files


def draw_speech(
    folder: Path,
    name: str,
    frames: Frames,
    place: MouthBox,
    reading: Reading,
    heard: Curves,
    fps: float = FPS,
) -> list[Path]:
    """The same for a recording without truth; ``heard`` joins the first panel of the curves."""
    begin = liveliest(reading.jaw() if reading.mouth is not None else reading.gap(), len(frames))
    places = [place] * len(frames)
    files = []
    for kind, numbers in (
        ("long", np.unique(np.linspace(0, len(frames) - 1, PICTURES).astype(int))),
        ("second", np.arange(begin, min(begin + PICTURES, len(frames)))),
    ):
        path = folder / f"speech_{name}_{kind}.png"
        save_strip(path, {"generated": frames}, places, numbers, fps)
        files.append(path)
    path = folder / f"speech_{name}_curves.png"
    plot_tracks(path, name, {"loudness": heard, **curves_of({"generated": reading})}, fps)
    return [*files, path]


def save_strip(
    path: Path,
    videos: dict[str, Frames],
    places: list[MouthBox],
    numbers: NDArray[np.intp],
    fps: float = FPS,
) -> None:
    """One strip of the given frames: every video whole, then every video's mouth."""
    rows = [(name, [thumbnail(frames[k]) for k in numbers]) for name, frames in videos.items()]
    rows += [
        (name, [mouth_closeup(frames[k], places[k]) for k in numbers])
        for name, frames in videos.items()
    ]
    save_image(path, contact_sheet(rows, [f"{k / fps:.2f} s" for k in numbers]))


def liveliest(opening: NDArray[np.float64] | None, frames: int) -> int:
    """First frame of the ``PICTURES`` frames in which the mouth moves most; 0 if unknown."""
    if opening is None or frames <= PICTURES:
        return 0
    steps = np.abs(np.diff(np.nan_to_num(opening), prepend=0.0))
    return int(np.convolve(steps, np.ones(PICTURES), mode="valid").argmax())


def curves_of(readings: dict[str, Reading]) -> dict[str, Curves]:
    """Panels for ``plot_tracks``: what the tools read, those that saw nothing left out."""
    panels: dict[str, Curves] = {}
    for label, reading in readings.items():
        jaw = reading.jaw()
        if jaw is not None:
            panels.setdefault("mouth, ruler", {})[label] = jaw
        if reading.face is not None:
            panels.setdefault("lips, landmarks", {})[label] = reading.face.gap
            panels.setdefault("eyes, landmarks", {})[label] = reading.face.eyes
    return panels
