"""Recordings of a speech pool are listed when they are finished, by the split of their number."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.dataset.recordings import list_recordings
from models.errors import LiveheadError

pytestmark = pytest.mark.unit


def test_finished_recordings_are_listed_by_number(tmp_path: Path) -> None:
    for name in ("1002", "003", "010", "899", "900", "900 copy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mouth.npy").touch()
    (tmp_path / "004").mkdir()  # not finished

    def names(*split: str) -> list[str]:
        return [folder.name for folder in list_recordings(tmp_path, *split)]  # type: ignore[arg-type]

    assert names("train") == ["003", "010", "899"]
    assert names("held_out") == ["900", "1002"]
    assert names() == ["003", "010", "899", "900", "1002"]


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LiveheadError, match=r"\(held_out\).*livehead data photos"):
        list_recordings(tmp_path, "held_out")
