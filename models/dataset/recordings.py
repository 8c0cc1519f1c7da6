"""The folder of a speech pool: recordings NNN, each a folder; from number 900 on held out."""

from __future__ import annotations

from pathlib import Path

from models.dataset.clips import Split
from models.errors import LiveheadError

FIRST_HELD_OUT = 900
"""Number of the first held-out recording."""


def is_recorded(folder: Path) -> bool:
    """Whether ``mouth.npy``, the file written last, is there."""
    return (folder / "mouth.npy").is_file()


def list_recordings(pool: Path, split: Split | None = None) -> list[Path]:
    """Folders of finished recordings in order of their numbers, of one split or of both.

    Raises:
        LiveheadError: there are none.
    """
    numbered = (f for f in pool.glob("[0-9]*") if f.name.isdecimal() and is_recorded(f))
    folders = sorted(numbered, key=lambda f: int(f.name))
    if split is not None:
        folders = [f for f in folders if (int(f.name) >= FIRST_HELD_OUT) == (split == "held_out")]
    if not folders:
        raise LiveheadError(
            f"expected recordings (NNN/mouth.npy){f' ({split})' if split else ''} in {pool}, found"
            " none; name the folder speech/ that `livehead data photos` made in its --out",
            code="bad_option",
        )
    return folders
