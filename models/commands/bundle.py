"""``python -m models.commands.bundle``: writes the bundled speech clips."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.errors import LiveheadError
from models.io import console
from models.synth.assets import open_assets
from models.synth.bundle import write_clips


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--assets", type=Path, required=True, help="folder of source files")
    parser.add_argument("--out", type=Path, required=True, help="holds clips/")


def run(args: argparse.Namespace) -> int:
    """Write clips; their licence is kept by hand beside them."""
    try:
        assets = open_assets(args.assets)
    except LiveheadError as error:
        console.warn(str(error))
        return 2
    write_clips(assets, args.out / "clips")
    return 0


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(description="Make the bundled speech clips.")
    add_arguments(_parser)
    raise SystemExit(run(_parser.parse_args()))
