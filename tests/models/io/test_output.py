"""Outputs are refused before the work when they cannot be written, and are never half there."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from models.io.contact_sheet import save_image
from models.io.output import AtomicFile, OutputError, check_outputs, whole_file
from models.io.video import GifWriter, Mp4Writer

pytestmark = pytest.mark.unit

SIZE = (64, 64)


@contextmanager
def little_room(size: int) -> Iterator[None]:
    """No file may become larger than ``size`` bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def film(path: Path) -> None:
    """Two noisy seconds with sound."""
    noise = np.random.default_rng(1)
    writer = (
        GifWriter(path, 25, width=64)
        if path.suffix == ".gif"
        else Mp4Writer(path, SIZE, 25, np.zeros((32_000, 1), np.float32), 16_000)
    )
    with writer:
        for _ in range(50):
            writer.write(noise.integers(0, 255, (*SIZE, 3), np.uint8))


@pytest.mark.parametrize(
    "name", ["2026-11-27T20:30.mp4", "100% 你好.mp4", os.fsdecode(b"\xff:.mp4"), f"{'x' * 251}.mp4"]
)
def test_any_name_is_written(tmp_path: Path, name: str) -> None:
    check_outputs([tmp_path / name])
    film(tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.mp4", "a.gif"])
@pytest.mark.parametrize("size", [0, 4096, 65_536])
def test_a_full_disk_leaves_nothing(tmp_path: Path, name: str, size: int) -> None:
    with little_room(size), pytest.raises(OutputError, match=f"{name}, got: File too large"):
        film(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    path.write_bytes(b"before")
    picture = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    with little_room(1000), pytest.raises(OutputError):
        save_image(path, picture)
    assert path.read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 1


def test_an_error_inside_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), whole_file(path) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "before" and len(list(tmp_path.iterdir())) == 1


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "a.json"
    link.symlink_to(tmp_path / "elsewhere" / "b.json")
    with whole_file(link) as part:
        part.write_text("{}")
    assert link.is_symlink() and (tmp_path / "elsewhere" / "b.json").read_text() == "{}"


def test_an_input_is_never_an_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "a.mp4"
    source.write_bytes(b"sound")
    (tmp_path / "hard.mp4").hardlink_to(source)
    (tmp_path / "soft.mp4").symlink_to(source)
    (tmp_path / "folder").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    names = ["a.mp4", "./a.mp4", "hard.mp4", "soft.mp4", "folder/a.mp4", str(source)]
    for name in names:
        with pytest.raises(OutputError, match="a file of its own"):
            check_outputs([Path(name)], [source])
    check_outputs([Path("b.mp4")], [source])


def test_what_is_written_meanwhile_is_no_input_either(tmp_path: Path) -> None:
    source = tmp_path / "a.mp4.part"
    source.write_bytes(b"sound")
    with pytest.raises(OutputError, match="a file of its own"):
        check_outputs([tmp_path / "a.mp4"], [source])


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    (tmp_path / "b.png").symlink_to(tmp_path / "a.mp4")
    with pytest.raises(OutputError, match="a file of its own"):
        check_outputs([tmp_path / "a.mp4", tmp_path / "b.png"])


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("none/a.mp4", "an existing folder"),
        (".", "the folder"),
        ("x" * 300 + ".mp4", "File name too long"),
        ("file/a.mp4", "an existing folder|Not a directory"),
        ("/dev/null", "the device"),
        ("/proc/a.mp4", "expected to write /proc/a.mp4"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=why):
        check_outputs([tmp_path / name])


def test_the_part_of_a_long_name_fits() -> None:
    name = "ü" * 125 + ".mp4"
    part = AtomicFile(Path(name)).part.name
    assert len(os.fsencode(name)) <= 255 and len(os.fsencode(part)) <= 255
