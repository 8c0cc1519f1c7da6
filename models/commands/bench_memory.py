"""``livehead bench memory``: the memory a published model takes to load and to run one step."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from models.bench.memory import peak_bytes
from models.commands.generator import load_diffusion_generator
from models.generator import chunk_samples
from models.io import console
from models.io.image import load_image
from models.options import DTYPES, RANDOM, ModelOptions
from models.pipeline import DiffusionGenerator
from models.registry import measured_models
from models.weights.bundled import avatar_picture

GIGABYTE = 1e9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", choices=measured_models(), default="hallo", help="default: %(default)s"
    )
    parser.add_argument("--weights", default="random:0", help="folder, or random:SEED (default)")
    parser.add_argument("--size", type=int, default=256, help="of frames (default %(default)s)")
    parser.add_argument("--dtype", choices=DTYPES, default="bf16", help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=1, help="to run (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")


def run(args: argparse.Namespace) -> int:
    """Load, run one chunk of ``--steps`` steps, and report the peaks.

    Raises:
        LiveheadError: the weights or an option cannot be used.
    """
    if args.weights.startswith(RANDOM):
        console.warn("RANDOM WEIGHTS: the sizes are those of the model, the pictures are noise")
    before = peak_bytes()
    generator = load_diffusion_generator(
        ModelOptions(
            model=args.model,
            weights=args.weights,
            threads=args.threads,
            plan=str(args.steps),
            size=(args.size, args.size),
            dtype=args.dtype,
        )
    )
    loaded = peak_bytes()
    frames = one_chunk(generator)
    record = {
        "model": args.model,
        "dtype": args.dtype,
        "size": args.size,
        "steps": args.steps,
        "frames": frames,
        "peak_gb": {
            "before": _gigabytes(before),
            "loaded": _gigabytes(loaded),
            "after": _gigabytes(peak_bytes()),
        },
    }
    _show(record)
    if args.json:
        console.emit_json(record)
    return 0


def one_chunk(generator: DiffusionGenerator[Any, Any]) -> int:
    """Generate one chunk of silence with a bundled avatar; returns the number of frames."""
    identity = generator.prepare(load_image(avatar_picture()))
    silence = np.zeros(chunk_samples(generator), np.float32)
    (frames,) = generator.generate([generator.open(identity)], [silence])
    return len(frames)


def _gigabytes(count: int) -> float:
    return round(count / GIGABYTE, 3)


def _show(record: dict[str, Any]) -> None:
    rows = [(name, value) for name, value in record["peak_gb"].items()]
    console.table(("peak memory", "GB"), rows)
