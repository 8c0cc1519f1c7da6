"""The command `data synth`: makes the synthetic data set with several processes."""

from __future__ import annotations

import argparse
import multiprocessing
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

from models.dataset.clips import FPS, is_finished
from models.errors import LiveheadError
from models.io import console
from models.synth.assets import open_assets
from models.synth.clip_writer import ClipPlan, Studio, clip_folder, plan_clips

_POLL_SECONDS = 0.5
_studio: Studio | None = None
_done: Synchronized[int] | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("--assets", type=Path, required=True, help="folder of source files")
    parser.add_argument("--out", type=Path, required=True, help="data folder to write or resume")
    parser.add_argument("--identities", type=int, default=30, help="clips to train on")
    parser.add_argument("--held-out", type=int, default=2, help="clips to keep for tests (0..2)")
    parser.add_argument("--seconds", type=float, default=22.0, help="video per training clip")
    parser.add_argument(
        "--speech-seconds", type=float, default=45.0, help="speech per training clip"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--part", default="0/1", help="i/n: make only every n-th clip, from i")


def run(args: argparse.Namespace) -> int:
    """Make all clips that are not finished; 0 when every one is there."""
    try:
        plans = plan_clips(args.identities, args.held_out, args.seconds, args.speech_seconds)
        first, step = parse_part(args.part)
        open_assets(args.assets)
    except (LiveheadError, ValueError) as error:
        console.warn(str(error))
        return 2
    todo = [p for p in plans[first::step] if not is_finished(clip_folder(args.out, p))]
    console.say(f"{len(todo)} of {len(plans[first::step])} clips to make in {args.out}")
    if todo:
        _make_all(todo, args.assets, args.out, max(1, args.workers))
    return 0


def parse_part(text: str) -> tuple[int, int]:
    """Read `i/n`.

    Raises:
        ValueError: it is not two numbers with 0 <= i < n.
    """
    left, _, right = text.partition("/")
    if left.isdigit() and right.isdigit() and int(left) < int(right):
        return int(left), int(right)
    raise ValueError(f"--part: expected i/n with 0 <= i < n, got {text!r}")


def _make_all(todo: list[ClipPlan], assets: Path, out: Path, workers: int) -> None:
    context = multiprocessing.get_context("spawn")
    done = context.Value("q", 0)
    frames = sum(round(plan.seconds * FPS) for plan in todo)
    with (
        context.Pool(min(workers, len(todo)), _start, (assets, done)) as pool,
        console.bar("frames", frames, "frame") as bar,
    ):
        results = [pool.apply_async(_work, (plan, out)) for plan in todo]
        for result in results:
            while not result.ready():
                result.wait(_POLL_SECONDS)
                _show(bar, done.value)
            result.get()
        _show(bar, done.value)


def _show(bar: Any, value: int) -> None:
    bar.update(value - bar.n)


def _start(assets: Path, done: Synchronized[int]) -> None:
    global _studio, _done
    _studio, _done = Studio(open_assets(assets)), done


def _work(plan: ClipPlan, out: Path) -> bool:
    assert _studio is not None
    return _studio.make(plan, out, _tick)


def _tick() -> None:
    assert _done is not None
    with _done.get_lock():
        _done.value += 1


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(description="Make the synthetic data set.")
    add_arguments(_parser)
    raise SystemExit(run(_parser.parse_args()))
