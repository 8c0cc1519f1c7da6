"""Files that a command writes: checked before the work, whole or absent after it."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av

from models.errors import LiveheadError

PART = ".part"
NAME_BYTES = 255
"""Longest name of a file on the usual file systems."""


class OutputError(LiveheadError):
    """Raised when an output cannot be written (``bad_output``)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="bad_output")


def check_outputs(outputs: Iterable[Path], inputs: Iterable[Path] = ()) -> None:
    """Check files before the work that ends in writing them.

    Raises:
        OutputError: one cannot be written, is an input too (by whatever name or link), or is
            written twice.
    """
    taken = list(inputs)
    for path in outputs:
        file = AtomicFile(path)
        with told(path):
            _check_place(file.path)
        for other in taken:
            if any(_same(name, other) for name in (path, file.part)):
                raise OutputError(
                    f"expected to write a file of its own, got {path}, which is {other};"
                    " choose another name"
                )
        taken.append(path)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write ``path``: it gets its name once the block has ended without an error.

    Raises:
        OutputError: it cannot be written.
    """
    file = AtomicFile(path)
    try:
        with told(path):
            yield file.part
            file.keep()
    finally:
        file.drop()


@contextmanager
def told(path: Path) -> Iterator[None]:
    """What the system and FFmpeg refuse while ``path`` is written, as an error of ours.

    Raises:
        OutputError: one of them refused.
    """
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise OutputError(
            f"expected to write {path}, got: {why}; make room or choose another place"
        ) from error


class AtomicFile:
    """A file that appears under its name only when it is finished; links are followed.

    Attributes:
        path: the file itself.
        part: what is written meanwhile, beside it.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))
        name = self.path.name + PART
        if len(os.fsencode(name)) > NAME_BYTES:
            name = f"{zlib.crc32(os.fsencode(name)):08x}{PART}"
        self.part = self.path.with_name(name)

    @property
    def url(self) -> str:
        """``part`` for FFmpeg, which takes what stands before a colon for a protocol."""
        return f"file:{self.part}"

    def keep(self) -> None:
        """Give the finished file its name once it is on the disk."""
        with self.part.open("rb") as file:
            os.fsync(file)
        self.part.replace(self.path)

    def drop(self) -> None:
        """Remove what was not kept."""
        self.part.unlink(missing_ok=True)


def _check_place(path: Path) -> None:
    if path.is_dir():
        raise OutputError(f"expected a file to write, got the folder {path}; add a name")
    if path.exists() and not path.is_file():
        raise OutputError(f"expected a file to write, got the device {path}; name a file")
    if not path.parent.is_dir():
        raise OutputError(f"expected an existing folder, got {path.parent}; create it first")
    with tempfile.TemporaryFile(dir=path.parent):
        pass


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there
        return os.path.realpath(one) == os.path.realpath(other)
