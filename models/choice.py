"""The command-line options that choose and set up a generator, and what they make."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.errors import LiveheadError
from models.generator import Generator

MODELS = ("mini", "fake")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --model, --weights, --plan, --threads and --engine."""
    parser.add_argument("--model", choices=MODELS, default="mini", help="default: %(default)s")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="default: the bundled weights")
    parser.add_argument("--plan", help="steps such as 10:0,4,8+dfa (default: the weights' own)")
    parser.add_argument("--threads", type=int, metavar="N", help="default: what suits the engine")
    parser.add_argument("--engine", default="auto", help="eager, openvino, or auto (the default)")


def make_generator(args: argparse.Namespace) -> Generator:
    """The generator that the options describe, warm.

    Raises:
        WeightsError: weights are missing or do not fit.
        LiveheadError: an option makes no sense (``bad_option``, ``bad_plan``).
    """
    if args.threads is not None and args.threads < 1:
        raise LiveheadError(
            f"expected at least one thread, got --threads {args.threads}", code="bad_option"
        )
    if args.model == "fake":
        from models.fake import FakeGenerator

        return FakeGenerator()
    from models.diffusion import load_generator  # brings torch; the fake does without

    return load_generator(
        args.model,
        weights=args.weights,
        threads=args.threads,
        plan=args.plan,
        engine=args.engine,
    )
