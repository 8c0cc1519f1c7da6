"""``livehead key add``: makes an API key, prints it once, keeps its hash in a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.io import console
from server.keys import add_key


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The key's name, its file and its limits."""
    parser.add_argument("name", help="of whoever gets the key; letters, digits, - and _")
    parser.add_argument(
        "--file", type=Path, required=True, help="for LIVEHEAD_API_KEYS_FILE; made where absent"
    )
    parser.add_argument("--max-sessions", type=_count, default=0, help="at once (default: any)")
    parser.add_argument(
        "--requests-per-minute", type=_count, default=0, help="to open sessions (default: any)"
    )
    parser.add_argument("--admin", action="store_true", help="the key opens /admin too")


def run(args: argparse.Namespace) -> int:
    """Make the key; the exit status."""
    key = add_key(
        args.file,
        args.name,
        max_sessions=args.max_sessions,
        requests_per_minute=args.requests_per_minute,
        admin=args.admin,
    )
    console.say(key)
    console.warn(
        "the key is shown this once; a server that runs has to be started again to take it"
    )
    return 0


def _count(text: str) -> int:
    """A number of the command line that is not negative."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected 0 or more, got {text!r}")
    return int(text)
