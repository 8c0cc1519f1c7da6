"""What command lines show: progress bars, tables for people, one JSON line for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def progress(items: Iterable[T], label: str, total: int | None = None) -> Iterable[T]:
    """Iterate with a progress bar on standard error."""
    from tqdm import tqdm  # here: a command must be able to end before it is loaded

    return tqdm(items, desc=label, total=total, **_style())


def bar(label: str, total: float, unit: str = "it") -> Any:
    """A progress bar to be moved by hand with ``update``; a context manager."""
    from tqdm import tqdm

    return tqdm(desc=label, total=total, unit=unit, **_style())


def say(message: str) -> None:
    """One line for a person, on standard output."""
    sys.stdout.write(message + "\n")
    sys.stdout.flush()


def warn(message: str) -> None:
    """One line that must not be missed, on standard error."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print aligned columns; numbers right, words left."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(line[k]) for line in [list(headings), *cells]) for k in range(len(headings))]
    say("  ".join(heading.ljust(width) for heading, width in zip(headings, widths, strict=True)))
    for row, line in zip(rows, cells, strict=True):
        say(
            "  ".join(
                text.rjust(width) if isinstance(value, (int, float)) else text.ljust(width)
                for value, text, width in zip(row, line, widths, strict=True)
            )
        )


def emit_json(record: dict[str, Any]) -> None:
    """Print the one JSON object that is a command's last line."""
    say(json.dumps(record, separators=(", ", ": ")))


def _style() -> dict[str, Any]:
    """Often on a terminal; in a log file one line every ten seconds is enough."""
    interval = 0.1 if sys.stderr.isatty() else 10.0
    return {"file": sys.stderr, "dynamic_ncols": True, "mininterval": interval}


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
