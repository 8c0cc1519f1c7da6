"""Contact sheets, where they look for the mouth, and plots without their library."""

from __future__ import annotations

import builtins
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from models.errors import LiveheadError
from models.evaluation.figures import liveliest_second, need_matplotlib, plot_tracks
from models.io.contact_sheet import (
    CELL,
    COLUMNS,
    ZOOM_HEIGHT,
    MouthBox,
    contact_sheet,
    default_mouth_box,
    mouth_box_of,
    mouth_closeup,
    thumbnail,
)

pytestmark = pytest.mark.unit


def test_sheet_breaks_into_bands() -> None:
    frame = np.full((256, 256, 3), 7, np.uint8)
    count = COLUMNS + 3
    rows = [
        ("whole", [thumbnail(frame)] * count),
        ("mouth", [mouth_closeup(frame, MouthBox(128, 180, 60))] * count),
    ]
    picture = contact_sheet(rows, ["0.00 s"] * count)
    band = picture.shape[0] // 2
    assert picture.shape == (2 * band, picture.shape[1], 3)
    assert picture.shape[1] > COLUMNS * CELL
    assert band > CELL + ZOOM_HEIGHT
    assert (picture[band + 60, 60] == 7).all()  # first cell of the second band
    assert (picture[band + 60, -60] > 200).all()  # paper after its last cell


def test_zoom_is_centred_on_the_mouth() -> None:
    frame = np.zeros((256, 256, 3), np.uint8)
    frame[170:190, 90:130] = 255
    cell = mouth_closeup(frame, MouthBox(110, 180, 60))
    assert cell.shape == (ZOOM_HEIGHT, CELL, 3)
    assert cell[ZOOM_HEIGHT // 2, CELL // 2].min() == 255
    assert cell[2, 2].max() == 0


def test_places() -> None:
    portrait = SimpleNamespace(
        mouth_xy=np.array([128.0, 190.0]), eyes_xy=np.array([100.0, 130.0, 156.0, 130.0])
    )
    assert mouth_box_of(SimpleNamespace(portrait=portrait), (256, 256)) == MouthBox(128, 190, 60)
    assert mouth_box_of(object(), (256, 256)) == default_mouth_box((256, 256))


def test_liveliest_second() -> None:
    opening = np.zeros(300)
    opening[150:174:2] = 1
    assert 145 <= liveliest_second(opening, 300) <= 152
    assert liveliest_second(None, 300) == 0
    assert liveliest_second(opening[:10], 10) == 0


def test_plots_are_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    curves = {"truth": np.sin(np.arange(400)), "generated": np.full(400, np.nan)}
    plot_tracks(tmp_path / "plot.png", "test", {"mouth": curves, "eyes": curves}, 25.0, [3, 300])
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_missing_plot_library_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(LiveheadError, match=r"livehead\[train\]") as caught:
        need_matplotlib()
    assert caught.value.code == "missing_extra"
