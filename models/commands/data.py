"""``livehead data synth``: writes the synthetic data set with several processes."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.commands.workers import count, parse_part, run_in_processes
from models.dataset.clips import FPS, is_finished
from models.errors import LiveheadError
from models.io import console
from models.synth.assets import PHOTOS, open_assets
from models.synth.clip_writer import ClipPlan, ClipWriter, clip_folder, plan_clips

_writer: ClipWriter | None = None


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
        assets = open_assets(args.assets)
    except (LiveheadError, ValueError) as error:
        console.warn(str(error))
        return 2
    if assets.photos is None:
        console.say(f"skin and hair are painted; for photographed ones put {PHOTOS.file} there too")
    pending = [p for p in plans[first::step] if not is_finished(clip_folder(args.out, p))]
    console.say(f"{len(pending)} of {len(plans[first::step])} clips to make in {args.out}")
    if pending:
        _write_all(pending, args.assets, args.out, max(1, args.workers))
    return 0


def _write_all(pending: list[ClipPlan], assets: Path, out: Path, workers: int) -> None:
    run_in_processes(
        [(plan, out) for plan in pending],
        _write_clip,
        start=_start_worker,
        settings=(assets,),
        workers=workers,
        label="frames",
        total=sum(round(plan.seconds * FPS) for plan in pending),
        unit="frame",
    )


def _start_worker(assets: Path) -> None:
    global _writer
    _writer = ClipWriter(open_assets(assets))


def _write_clip(plan: ClipPlan, out: Path) -> bool:
    assert _writer is not None
    return _writer.write(plan, out, count)


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(description="Make the synthetic data set.")
    add_arguments(_parser)
    raise SystemExit(run(_parser.parse_args()))
