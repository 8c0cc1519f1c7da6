"""``scripts/gpu-train pack``: portraits, speech and packages in a folder to carry to a GPU."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from models.commands.workers import count, run_in_processes
from models.errors import LiveheadError, PortraitError
from models.io.console import say
from models.puppets.portraits import PortraitFile, find_portrait, list_portraits
from models.training.pack import pack_perceptual, pack_portraits, pack_recordings

HELD_OUT = 16
"""Held-out portraits that are packed: as many as there are held-out recordings."""
COMPILED = ("moderngl", "glcontext", "soxr")
"""Compiled packages that a machine with PyTorch often lacks."""
GLIBC = (5, 12, 17, 24, 27, 28)
"""Minor versions of glibc that wheels are built for."""
MIB = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--portraits", type=Path, required=True, help="folder of portraits")
    parser.add_argument(
        "--speech", type=Path, required=True, help="speech/ inside a folder of `livehead data`"
    )
    parser.add_argument("--pack", type=Path, required=True, help="folder to write")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument(
        "--python",
        default=f"{sys.version_info.major}.{sys.version_info.minor}",
        help="version of the other machine's Python (default %(default)s)",
    )
    parser.add_argument(
        "--limit-mib", type=float, default=64.0, help="of this checkout and the pack together"
    )


def run(args: argparse.Namespace) -> int:
    """Write the pack anew.

    Raises:
        LiveheadError: a folder cannot be used, or the pack does not fit.
    """
    if args.pack.exists() and not (args.pack / "wheels").is_dir():
        raise LiveheadError(
            f"expected a new folder or an earlier pack, got {args.pack}; name another with --pack",
            code="bad_option",
        )
    sources = [source for source in list_portraits(args.portraits) if source.path.exists()]
    shutil.rmtree(args.pack, ignore_errors=True)
    calls: list[tuple[PortraitFile]] = [(source,) for source in sources]
    fit = run_in_processes(
        calls, _can_speak, workers=args.workers, label="faces", total=len(calls), unit="portrait"
    )
    usable = [source for source, can_speak in zip(sources, fit, strict=True) if can_speak]
    train = [source for source in usable if source.split == "train"]
    held_out = [source for source in usable if source.split == "held_out"][:HELD_OUT]
    pack_portraits(train + held_out, args.pack)
    recordings = pack_recordings(args.speech, args.pack)
    pack_perceptual(args.pack)
    _download_wheels(args.pack / "wheels", args.python)
    sizes = {part.name: _size(part) / MIB for part in sorted(args.pack.iterdir())}
    checkout = _checkout_size() / MIB
    total = checkout + sum(sizes.values())
    parts = ", ".join(f"{name} {size:.1f}" for name, size in sizes.items())
    say(
        f"{len(train)} portraits to train on, {len(held_out)} held out, {recordings} recordings;"
        f" MiB: {parts}; checkout {checkout:.1f}; together {total:.1f}"
    )
    if total > args.limit_mib:
        raise LiveheadError(
            f"expected at most {args.limit_mib:g} MiB to carry, got {total:.1f}; pack fewer"
            " portraits or recordings",
            code="bad_option",
        )
    return 0


def _can_speak(source: PortraitFile) -> bool:
    try:
        find_portrait(source)
    except PortraitError:
        return False
    finally:
        count()
    return True


def _download_wheels(folder: Path, python: str) -> None:
    """Wheels for another Python on Linux, x86-64, of the versions that are installed here."""
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in GLIBC] + ["manylinux2014_x86_64"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", python, "--dest", str(folder)]
    command += [word for name in platforms for word in ("--platform", name)]
    command += [f"{name}=={version(name)}" for name in COMPILED]
    if subprocess.run(command, check=False).returncode:
        raise LiveheadError(
            f"expected wheels of {', '.join(COMPILED)} for Python {python}, got none from pip;"
            " see what it says above",
            code="bad_option",
        )


def _checkout_size() -> int:
    """Bytes of the files that git tracks or does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, check=True, capture_output=True).stdout.split(b"\0")
    paths = [Path(name.decode()) for name in names if name]
    return sum(path.stat().st_size for path in paths if path.is_file() and not path.is_symlink())


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
