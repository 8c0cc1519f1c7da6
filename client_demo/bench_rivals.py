"""``livehead bench rivals``: mini's whole frame beside the networks of other talking heads.

``models/bench/rivals.py`` says what is timed. Adds the H.264 encoder, which sessions use, and the
memory of a process that runs mini and nothing else.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Any

from models.bench.memory import peak_bytes
from models.bench.model import Encode
from models.bench.rivals import PARTS, FramePath, bars, compare
from models.bench.target import BenchTarget, load_target
from models.bench.timing import hardware
from models.errors import LiveheadError
from models.io import console
from models.io.command import deaf_children
from server.media.encoders import VideoEncoder

SIDE = 512
"""Pixels of the frames that the bars are for."""
MEGABYTE = 1e6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=2, help="for tensors (default %(default)s)")
    parser.add_argument(
        "--weights", metavar="DIR", help="default: the bundled ones; random:SEED for random ones"
    )
    parser.add_argument("--rounds", type=int, default=30, help="medians of (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print only the JSON line")


def run(args: argparse.Namespace) -> int:
    """Measure and print tables, then one JSON object."""
    if args.threads < 1 or args.rounds < 1:
        raise LiveheadError(
            f"expected positive --threads and --rounds, got {args.threads} and {args.rounds}",
            code="bad_option",
        )
    record = bench(args.weights, args.threads, args.rounds)
    if not args.json:
        show(record)
    console.emit_json(record)
    return 0


def bench(weights: str | None, threads: int, rounds: int) -> dict[str, Any]:
    """Load, measure memory, then times in turns; the record to print.

    Raises:
        LiveheadError: the weights cannot be used.
    """
    target, single = (load_target(weights, None, count) for count in (threads, 1))
    if target.random:
        console.warn("RANDOM WEIGHTS: the times are those of the model, the pictures are noise")
    memory_mb = memory_of_mini(weights, threads, rounds)
    with ExitStack() as opened:
        record = compare(
            target,
            single,
            threads,
            console.progress(range(rounds), "measuring", rounds),
            lambda: _encode(target, opened),
        )
    return {
        **record,
        "memory_mb": round(memory_mb, 1),
        "bars": [bar.to_json() for bar in bars(record, memory_mb)],
        "weights": target.weights,
        "engine": target.pipeline.engine.name if target.pipeline.engine else "eager",
        "threads": threads,
        "rounds": rounds,
        "hardware": hardware(),
    }


def memory_of_mini(weights: str | None, threads: int, chunks: int) -> float:
    """Peak memory of a process of its own that runs mini from sound to H.264, MB."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        with deaf_children():
            peak = pool.submit(_run_alone, weights, threads, chunks)
        return peak.result() / MEGABYTE


def _run_alone(weights: str | None, threads: int, chunks: int) -> int:
    target = load_target(weights, None, threads)
    with ExitStack() as opened:
        path = FramePath(target, target.plan, threads, _encode(target, opened))
        for _ in range(chunks):
            path()
    return peak_bytes()


def _encode(target: BenchTarget, opened: ExitStack) -> Encode:
    """An encoder of frames of the target's size, open as long as ``opened`` is."""
    encoder = VideoEncoder(target.pipeline.size, target.pipeline.spec.fps)
    opened.callback(encoder.close)
    return encoder.encode


def show(record: dict[str, Any]) -> None:
    """Print the record as tables."""
    times, quartiles, flops = (
        record[key] for key in ("ms_per_frame", "quartiles_ms", "gflop_per_frame")
    )
    console.table(
        ["what", "ms/frame", "quarter", "three quarters", "GFLOP"],
        [
            [name, float(times[name]), *map(float, quartiles[name]), flops.get(name, "")]
            for name in times
        ],
    )
    console.say("")
    parts = record["parts_ms"]
    console.table(
        ["part of mini, ms/frame", *parts],
        [[part, *(float(path[part]) for path in parts.values())] for part in PARTS],
    )
    console.say("")
    console.table(
        ["bar", "value", "limit", "", "distance"],
        [
            [
                bar["what"],
                float(bar["value"]),
                ("at least " if bar["at_least"] else "at most ") + f"{bar['limit']:g}",
                "pass" if bar["met"] else "MISS",
                f"{100 * bar['distance']:+.0f} %",
            ]
            for bar in record["bars"]
        ],
    )
    height, width = record["size"]
    if (height, width) != (SIDE, SIDE):
        console.warn(f"frames are {width}x{height}; the bars are for {SIDE}x{SIDE}")
    where = record["hardware"]
    console.say(
        f"mini at {width}x{height}, plan {record['plan']}, {record['engine']}: {record['threads']}"
        f" threads of {where['cpu']} ({where['cores']} cores), {where['dtype']},"
        f" {record['rounds']} rounds"
    )
