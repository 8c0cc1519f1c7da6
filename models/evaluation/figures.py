"""Draws an evaluation for people: contact sheets of truth and generated, and their curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.dataset.clips import FPS
from models.errors import LiveheadError
from models.evaluation.compare import VideoTracks
from models.evaluation.eval_clip import EvalClip
from models.io.contact_sheet import MouthBox, contact_sheet, mouth_closeup, save_image, thumbnail

PICTURES = 24
ROW_SECONDS = 10.0
MAX_ROWS = 6
_COLOURS = {"truth": "#222222", "generated": "#d1495b", "loudness": "#9aa5b1"}

Frames = NDArray[np.uint8]
Curves = Mapping[str, NDArray[np.floating]]


def draw_clip(
    folder: Path,
    eval_clip: EvalClip,
    generated: Frames,
    tracks: VideoTracks,
    truth: VideoTracks,
) -> list[Path]:
    """Write contact sheets of the clip and of its liveliest second, and the curves.

    Returns:
        The files.
    """
    name = eval_clip.clip.name
    between = eval_clip.eyes_xy.mean(1)
    unit = float(np.median(np.linalg.norm(eval_clip.mouth_xy - between, axis=1)))
    mouth_boxes = [MouthBox(float(x), float(y), unit) for x, y in eval_clip.mouth_xy]
    videos = {"truth": eval_clip.truth, "generated": generated}
    begin = liveliest_second(
        truth.jaw() if truth.mouth is not None else truth.gap(), eval_clip.frames
    )
    files = []
    for kind, numbers in (
        ("long", np.unique(np.linspace(0, eval_clip.frames - 1, PICTURES).astype(int))),
        ("second", np.arange(begin, min(begin + PICTURES, eval_clip.frames))),
    ):
        path = folder / f"clip_{name}_{kind}.png"
        save_sheet(path, videos, mouth_boxes, numbers)
        files.append(path)
    panels = curves_of({"truth": truth, "generated": tracks})
    if panels:
        path = folder / f"clip_{name}_curves.png"
        plot_tracks(path, f"clip {name}", panels, FPS, eval_clip.lips.tolist())
        files.append(path)
    return files


def draw_speech(
    folder: Path,
    name: str,
    frames: Frames,
    mouth_box: MouthBox,
    tracks: VideoTracks,
    loudness: Curves,
    fps: float = FPS,
) -> list[Path]:
    """The same for a recording without truth; ``loudness`` is the first panel of the curves."""
    begin = liveliest_second(
        tracks.jaw() if tracks.mouth is not None else tracks.gap(), len(frames)
    )
    mouth_boxes = [mouth_box] * len(frames)
    files = []
    for kind, numbers in (
        ("long", np.unique(np.linspace(0, len(frames) - 1, PICTURES).astype(int))),
        ("second", np.arange(begin, min(begin + PICTURES, len(frames)))),
    ):
        path = folder / f"speech_{name}_{kind}.png"
        save_sheet(path, {"generated": frames}, mouth_boxes, numbers, fps)
        files.append(path)
    path = folder / f"speech_{name}_curves.png"
    plot_tracks(path, name, {"loudness": loudness, **curves_of({"generated": tracks})}, fps)
    return [*files, path]


def save_sheet(
    path: Path,
    videos: dict[str, Frames],
    mouth_boxes: list[MouthBox],
    numbers: NDArray[np.intp],
    fps: float = FPS,
) -> None:
    """Contact sheet of the numbered frames: every video whole, then the mouth of every video."""
    rows = [(name, [thumbnail(frames[k]) for k in numbers]) for name, frames in videos.items()]
    rows += [
        (name, [mouth_closeup(frames[k], mouth_boxes[k]) for k in numbers])
        for name, frames in videos.items()
    ]
    save_image(path, contact_sheet(rows, [f"{k / fps:.2f} s" for k in numbers]))


def liveliest_second(opening: NDArray[np.float64] | None, frames: int) -> int:
    """First of the ``PICTURES`` frames in which the mouth moves most; 0 if unknown."""
    if opening is None or frames <= PICTURES:
        return 0
    steps = np.abs(np.diff(np.nan_to_num(opening), prepend=0.0))
    return int(np.convolve(steps, np.ones(PICTURES), mode="valid").argmax())


def curves_of(videos: dict[str, VideoTracks]) -> Mapping[str, Curves]:
    """Panels for ``plot_tracks``, of the tools that found a face."""
    panels: dict[str, dict[str, NDArray[np.float64]]] = {}
    for label, tracks in videos.items():
        jaw = tracks.jaw()
        if jaw is not None:
            panels.setdefault("mouth, ruler", {})[label] = jaw
        if tracks.face is not None:
            panels.setdefault("lips, landmarks", {})[label] = tracks.face.gap
            panels.setdefault("eyes, landmarks", {})[label] = tracks.face.eyes
    return panels


def need_matplotlib() -> Any:
    """``pyplot`` with a backend that draws into files.

    Raises:
        LiveheadError: it is not installed (``missing_extra``).
    """
    try:
        import matplotlib
    except ImportError as error:
        raise LiveheadError(
            "expected matplotlib for the plots of --out, got none;"
            " install it with `pip install 'livehead[train]'`, or leave --out away",
            code="missing_extra",
        ) from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def plot_tracks(
    path: Path, title: str, tracks: Mapping[str, Curves], fps: float, marks: Sequence[int] = ()
) -> None:
    """Write a PNG: for each row of ``ROW_SECONDS``, one panel for each track.

    Args:
        path: the file.
        title: of the figure.
        tracks: curves [T] by name (``truth``, ``generated``, ...) of each panel.
        fps: frames per second.
        marks: frame numbers marked by a thin line (p, b and m).
    """
    pyplot = need_matplotlib()
    frames = max(len(values) for curves in tracks.values() for values in curves.values())
    span = round(ROW_SECONDS * fps)
    rows = min(MAX_ROWS, -(-frames // span))
    size = (14, 1.5 * rows * len(tracks) + 0.6)
    figure, axes = pyplot.subplots(rows * len(tracks), 1, figsize=size, squeeze=False)
    for row in range(rows):
        for k, (name, curves) in enumerate(tracks.items()):
            part = slice(row * span, (row + 1) * span)
            axis = axes[row * len(tracks) + k, 0]
            _panel(axis, name, curves, part, fps, marks)
            axis.sharey(axes[k, 0])
    axes[0, 0].legend(loc="upper right", fontsize=7, ncols=3)
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def _panel(
    axis: Any, name: str, curves: Curves, part: slice, fps: float, marks: Sequence[int]
) -> None:
    for label, values in curves.items():
        piece = values[part]
        times = (np.arange(piece.size) + part.start) / fps
        axis.plot(times, piece, label=label, linewidth=0.9, color=_COLOURS.get(label))
    for mark in marks:
        if part.start <= mark < part.stop:
            axis.axvline(mark / fps, color="#7fb069", linewidth=0.5, zorder=0)
    axis.set_xlim(part.start / fps, part.stop / fps)
    axis.set_ylabel(name, fontsize=7)
    axis.tick_params(labelsize=6)
