"""``livehead parity``: replays every stored value of a published model and reports the gaps."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

import torch

from models.errors import LiveheadError
from models.io.console import emit_json
from tests.parity.directory import MODELS, Directory
from tests.parity.names import compare_names
from tests.parity.report import collect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
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


def run(args: argparse.Namespace) -> int:
    """Replay and report; 0 if every item is ok.

    Raises:
        WeightsError: the directory is missing, foreign or damaged.
        LiveheadError: no directory is given (``bad_option``).
    """
    module = replays_of(args.model)
    if args.names:
        items = compare_names(args.model, module.networks(), args.directory)
    elif args.directory is None:
        raise LiveheadError(
            "expected a directory of tiny weights and stored values, got none; name it after"
            f" {args.model}, or add --names",
            code="bad_option",
        )
    else:
        directory = Directory(args.directory, args.model)
        _ = directory.config  # a foreign directory is refused before anything is computed
        items = module.items(directory)
    with torch.inference_mode():
        report = collect(args.model, items)
    report.show()
    if args.json:
        emit_json(report.to_json())
    return 0 if report.ok else 1


def replays_of(model: str) -> Any:
    """The module that replays a model's stored values.

    Raises:
        LiveheadError: this version does not have it yet (``unfinished``).
    """
    try:
        return importlib.import_module(f"tests.parity.{model}")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("models."):
            raise
        raise LiveheadError(
            f"{model} cannot be replayed with this version of Livehead: it has no {error.name}",
            code="unfinished",
        ) from error
