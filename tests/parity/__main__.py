"""``python -m tests.parity NAME DIR``: replays a model's stored values and reports differences."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from models.errors import LiveheadError
from models.io import console
from tests.parity.directory import MODELS, Directory
from tests.parity.items import Item, collect, guarded
from tests.parity.names import compare_names
from tests.parity.networks import Networks, load, published

Section = Callable[[Directory, Networks[Any, Any]], Iterator[Item]]
"""Replays some stored values of a directory."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 if every item is ok, 2 for a wrong call."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.parity", description="replay a published model's stored values"
    )
    parser.add_argument("model", choices=MODELS, metavar="NAME", help=" or ".join(MODELS))
    parser.add_argument(
        "directory", type=Path, nargs="?", metavar="DIR", help="tiny weights and stored values"
    )
    parser.add_argument(
        "--names",
        action="store_true",
        help="compare names, shapes and buffers at the published size instead; DIR may be left out",
    )
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    given = parser.parse_args(arguments)
    try:
        with torch.inference_mode():
            report = collect(given.model, items(given.model, given.directory, names=given.names))
    except LiveheadError as error:
        console.warn(f"{error.code}: {error}")
        return 1
    report.show()
    if given.json:
        console.emit_json(report.to_json())
    return 0 if report.ok else 1


def items(model: str, path: Path | None, *, names: bool = False) -> Iterator[Item]:
    """The names of a model's networks, or the stored values of the directory ``path``.

    Raises:
        WeightsError: the directory is missing, foreign or damaged.
        LiveheadError: no directory is given (``bad_option``).
    """
    if names:
        return compare_names(model, published(model), path)
    if path is None:
        raise LiveheadError(
            "expected a directory of tiny weights and stored values, got none; name it after"
            f" {model}, or add --names",
            code="bad_option",
        )
    directory = Directory(path, model)
    networks = load(directory)
    return (
        item
        for name, section in sections_of(model).items()
        for item in guarded(name, section(directory, networks))
    )


def sections_of(model: str) -> dict[str, Section]:
    """What a model replays, in the order of the notes."""
    sections: dict[str, Section] = importlib.import_module(f"tests.parity.{model}").SECTIONS
    return sections


if __name__ == "__main__":
    sys.exit(main())
