"""Draws measured tracks over time: truth and generated in one plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import LiveheadError

ROW_SECONDS = 10.0
MAX_ROWS = 6
_COLOURS = {"truth": "#222222", "generated": "#d1495b", "loudness": "#9aa5b1"}

Curves = Mapping[str, NDArray[np.floating]]


def need_matplotlib() -> Any:
    """The plotting module, set to draw into files.

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
        title: stands above.
        tracks: name of a panel -> its curves [T] by name (``truth``, ``generated``, ...).
        fps: frames per second.
        marks: frames that get a thin line (p, b and m).
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
