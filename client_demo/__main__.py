"""The command ``python -m client_demo``: an avatar says a sound file, and the answer is saved."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from models.errors import LiveheadError
from models.io import console
from models.io.command import ended_at_once, run_command

with ended_at_once():
    from client_demo.client import ClientSession
    from client_demo.talk import Talk, record_talk
    from models.io.audio import read_speech
    from models.io.output import check_outputs

PUSH_RATE = 48_000


def parser() -> argparse.ArgumentParser:
    """The command's argument parser."""
    build = argparse.ArgumentParser(prog="python -m client_demo", description=__doc__)
    build.add_argument("--url", default="http://localhost:8000", help="of the server")
    face = build.add_mutually_exclusive_group()
    face.add_argument("--avatar", metavar="ID", help="a bundled avatar (default: the first)")
    face.add_argument("--portrait", type=Path, metavar="FILE", help="a picture with one face")
    build.add_argument("--audio", type=Path, required=True, metavar="FILE", help="what to say")
    build.add_argument("--out", type=Path, required=True, metavar="FILE.mp4", help="where to save")
    build.add_argument("--realtime", action="store_true", help="push as fast as it is spoken")
    build.add_argument("--api-key", metavar="KEY", help="for servers that ask for one")
    build.add_argument("--json", action="store_true", help="print one JSON line last")
    return build


async def talk_to_server(args: argparse.Namespace) -> Talk:
    """Say the file in a session and save the answer, as the arguments describe.

    Raises:
        LiveheadError: a file cannot be used, or the server refuses or vanishes.
        OSError: the portrait cannot be read.
    """
    check_outputs([args.out], filter(None, (args.audio, args.portrait)))
    speech = read_speech(args.audio, PUSH_RATE)
    pcm = (speech * 32_767).astype("<i2").tobytes()
    portrait = args.portrait.read_bytes() if args.portrait else None
    session = ClientSession(
        args.url, avatar_id=args.avatar, portrait=portrait, api_key=args.api_key
    )
    return await record_talk(session, pcm, PUSH_RATE, args.out, realtime=args.realtime)


def report(talk: Talk, args: argparse.Namespace) -> None:
    """Print what happened, for people and, if asked for, for programs."""
    console.table(
        ["first frame", "frames", "late units", "missing", "saved"],
        [
            [
                f"{talk.first_frame_ms:.0f} ms",
                talk.frames,
                talk.late_units,
                talk.missing_units,
                f"{talk.saved_s:.2f} s",
            ]
        ],
    )
    if args.json:
        console.emit_json({"out": str(args.out), **talk.as_dict()})


def main() -> int:
    """Run the command; the exit status, as ``run_command`` has it."""
    args = parser().parse_args()
    return run_command(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Talk to the server, then print what it was like."""
    try:
        talk = asyncio.run(talk_to_server(args))
    except LiveheadError as error:
        console.warn(f"{error} [{error.code}]")
        return 1
    report(talk, args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
