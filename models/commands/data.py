"""``livehead data synth``: writes the synthetic data set with several processes."""

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
from models.synth.clip_writer import ClipPlan, ClipWriter, clip_folder, plan_clips

_POLL_SECONDS = 0.5
_writer: ClipWriter | None = None
_frames_done: Synchronized[int] | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
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
    """Write all clips that are not finished; returns the exit status."""
    try:
        plans = plan_clips(args.identities, args.held_out, args.seconds, args.speech_seconds)
        first, step = parse_part(args.part)
        open_assets(args.assets)
    except (LiveheadError, ValueError) as error:
        console.warn(str(error))
        return 2
    pending = [p for p in plans[first::step] if not is_finished(clip_folder(args.out, p))]
    console.say(f"{len(pending)} of {len(plans[first::step])} clips to make in {args.out}")
    if pending:
        _write_all(pending, args.assets, args.out, max(1, args.workers))
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


def _write_all(pending: list[ClipPlan], assets: Path, out: Path, workers: int) -> None:
    context = multiprocessing.get_context("spawn")
    frames_done = context.Value("q", 0)
    frames = sum(round(plan.seconds * FPS) for plan in pending)
    with (
        context.Pool(min(workers, len(pending)), _start_worker, (assets, frames_done)) as pool,
        console.bar("frames", frames, "frame") as bar,
    ):
        results = [pool.apply_async(_write_clip, (plan, out)) for plan in pending]
        for result in results:
            while not result.ready():
                result.wait(_POLL_SECONDS)
                _update(bar, frames_done.value)
            result.get()
        _update(bar, frames_done.value)


def _update(bar: Any, value: int) -> None:
    bar.update(value - bar.n)


def _start_worker(assets: Path, frames_done: Synchronized[int]) -> None:
    global _writer, _frames_done
    _writer, _frames_done = ClipWriter(open_assets(assets)), frames_done


def _write_clip(plan: ClipPlan, out: Path) -> bool:
    assert _writer is not None
    return _writer.write(plan, out, _count_frame)


def _count_frame() -> None:
    assert _frames_done is not None
    with _frames_done.get_lock():
        _frames_done.value += 1


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(description="Make the synthetic data set.")
    add_arguments(_parser)
    raise SystemExit(run(_parser.parse_args()))
