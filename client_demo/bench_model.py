"""``livehead bench model``: milliseconds per frame of the model and the video encoder.

Adds the H.264 encoder, which sessions use, to what ``models/bench/model.py`` measures and
explains.
"""

from __future__ import annotations

import argparse
from typing import Any

from models.bench.model import summary, timed_calls
from models.bench.target import load_target
from models.bench.timing import hardware, time_in_turns
from models.errors import LiveheadError
from models.io import console
from server.media.encoders import VideoEncoder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=2, help="for tensors (default %(default)s)")
    parser.add_argument(
        "--weights", metavar="DIR", help="default: the bundled ones; random:SEED for random ones"
    )
    parser.add_argument("--plan", help="steps such as 10:0,4,8+dfa (default: the weights' own)")
    parser.add_argument(
        "--frames", type=int, default=120, help="to make by each variant (default %(default)s)"
    )
    parser.add_argument("--engine", default="auto", help="eager, openvino, or auto (the default)")
    parser.add_argument("--json", action="store_true", help="print only the JSON line")


def run(args: argparse.Namespace) -> int:
    """Measure and print a table, then one JSON object."""
    if args.threads < 1 or args.frames < 1:
        raise LiveheadError(
            f"expected positive --threads and --frames, got {args.threads} and {args.frames}",
            code="bad_option",
        )
    record = bench(args.weights, args.plan, args.threads, args.frames, args.engine)
    if not args.json:
        show(record)
    console.emit_json(record)
    return 0


def bench(
    weights: str | None, plan: str | None, threads: int, frames: int, engine: str = "auto"
) -> dict[str, Any]:
    """Load and measure in turns; the record to print.

    Raises:
        LiveheadError: weights or plan cannot be used.
    """
    target = load_target(weights, plan, threads, engine)
    if target.random:
        console.warn("RANDOM WEIGHTS: the times are those of the model, the pictures are noise")
    spec = target.pipeline.spec
    encoder = VideoEncoder(target.pipeline.size, spec.fps)
    rounds = max(1, frames // spec.chunk_frames)
    try:
        calls = timed_calls(target, encoder.encode)
        spent = time_in_turns(calls, console.progress(range(rounds), "measuring", rounds))
    finally:
        encoder.close()
    return {
        **summary(target, spent),
        "threads": threads,
        "engine": target.pipeline.engine.name if target.pipeline.engine else "eager",
        "frames": rounds * spec.chunk_frames,
        "hardware": hardware(),
    }


def show(record: dict[str, Any]) -> None:
    """Print the record as a table."""
    times, quartiles, flops = (
        record[key] for key in ("ms_per_frame", "quartiles_ms", "gflop_per_frame")
    )
    rows = [
        [name, float(times[name]), *map(float, quartiles[name]), flops.get(name, "")]
        for name in times
    ]
    console.table(["part", "ms/frame", "quarter", "three quarters", "GFLOP"], rows)
    where = record["hardware"]
    console.say(
        f"plan {record['plan']}: {record['fps']} frames per second on {record['threads']} threads"
        f" of {where['cpu']} ({where['cores']} cores), {where['dtype']},"
        f" {record['engine']}"
    )
