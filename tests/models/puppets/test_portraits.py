"""Tests which portraits of a folder are taken, their split, and why others are refused."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import LiveheadError, PortraitError
from models.face.landmarks import Landmarks
from models.puppets import portraits
from models.puppets.portraits import (
    HELD_OUT_EVERY,
    PortraitFile,
    find_portrait,
    list_portraits,
)

pytestmark = pytest.mark.unit


def save(path: Path, picture: NDArray[np.uint8]) -> Path:
    """Write RGB as PNG."""
    cv2.imwrite(str(path), picture[..., ::-1])
    return path


def test_lists_a_folder_without_an_index(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for k in range(HELD_OUT_EVERY + 2):
        (tmp_path / "more" / f"{k:02d}.JPG").touch()
    (tmp_path / "notes.txt").touch()
    found = list_portraits(tmp_path)
    assert [one.number for one in found] == list(range(HELD_OUT_EVERY + 2))
    assert [one.path.name for one in found] == [f"{k:02d}.JPG" for k in range(HELD_OUT_EVERY + 2)]
    held_out = [one.number for one in found if one.split == "held_out"]
    assert held_out == [HELD_OUT_EVERY - 1]
    assert not any(one.glasses for one in found)


def test_lists_a_folder_by_its_index(tmp_path: Path) -> None:
    rows = [
        {"id": 7, "file": "a/7.jpg", "split": "held_out", "glasses": True},
        {"id": "3", "file": "3.jpg", "split": "train"},
    ]
    (tmp_path / "index.json").write_text(json.dumps(rows), encoding="utf-8")
    (tmp_path / "unlisted.jpg").touch()
    assert list_portraits(tmp_path) == [
        PortraitFile(7, tmp_path / "a/7.jpg", "held_out", True),
        PortraitFile(3, tmp_path / "3.jpg", "train", False),
    ]


def test_says_that_a_folder_is_empty(tmp_path: Path) -> None:
    with pytest.raises(LiveheadError, match="expected pictures .*found none") as caught:
        list_portraits(tmp_path)
    assert caught.value.code == "bad_option"


def test_finds_a_portrait(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    source = PortraitFile(0, save(tmp_path / "a.png", photo), "train")
    found = find_portrait(source)
    np.testing.assert_array_equal(found.picture, photo)
    assert found.landmarks.unit > portraits.MIN_UNIT


def test_refuses_a_picture_without_a_face(tmp_path: Path) -> None:
    grey = save(tmp_path / "grey.png", np.full((300, 300, 3), 127, np.uint8))
    with pytest.raises(PortraitError, match="expected a human face"):
        find_portrait(PortraitFile(0, grey, "train"))


@pytest.mark.parametrize(
    ("code", "change"),
    [("face_too_small", "shrink"), ("face_turned", "turn"), ("mouth_open", "open")],
)
def test_says_why_a_portrait_cannot_speak(
    code: str,
    change: str,
    photo: NDArray[np.uint8],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = PortraitFile(0, save(tmp_path / "a.png", photo), "train")
    points = find_portrait(source).landmarks.points.copy()
    if change == "shrink":
        points *= 0.5
    elif change == "turn":
        x = points[:, 0] - points[:, 0].mean()
        points[:, 2] += np.tan(np.radians(25)) * x
    else:
        points[14, 1] += 0.6 * np.linalg.norm(points[61, :2] - points[291, :2])
    changed = Landmarks(points, 1.0)
    monkeypatch.setattr(portraits, "steady_landmarks", lambda picture, found: changed)
    with pytest.raises(PortraitError) as caught:
        find_portrait(source)
    assert caught.value.code == code
