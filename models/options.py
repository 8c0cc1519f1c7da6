"""The command-line options that choose and set up a generator, and what they make."""

from __future__ import annotations

import argparse

from models.errors import LiveheadError
from models.generator import Generator
from models.io.console import warn
from models.published import DTYPES, PUBLISHED, RANDOM, SIZE, PublishedOptions

MODELS = ("mini", *PUBLISHED, "fake")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --model, --weights, --plan, --threads, --engine and what published models have."""
    parser.add_argument("--model", choices=MODELS, default="mini", help="default: %(default)s")
    parser.add_argument(
        "--weights",
        metavar="DIR",
        help="default: the bundled weights of mini; published models: their publisher's folder, or"
        " random:SEED for noise",
    )
    parser.add_argument("--plan", help="steps such as 10:0,4,8+dfa (default: the model's own)")
    parser.add_argument("--threads", type=int, metavar="N", help="default: what suits the engine")
    parser.add_argument(
        "--engine",
        default="auto",
        help="eager, openvino (mini), compiled (published), or auto (the default)",
    )
    published = parser.add_argument_group("published models")
    published.add_argument(
        "--size", type=int, default=SIZE, metavar="N", help="of frames (default %(default)s)"
    )
    published.add_argument(
        "--dtype", choices=DTYPES, default="", help="default: fp32 on a CPU, else bf16"
    )
    published.add_argument(
        "--devices", default="cpu", metavar="D,D", help="such as cuda:0,cuda:1 (default cpu)"
    )
    published.add_argument(
        "--without-reference",
        default="",
        metavar="PATH,PATH",
        help="transformers that do not read the portrait, such as up_blocks.3.attentions.2"
        " (default: none)",
    )


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
    if args.weights and args.weights.startswith(RANDOM):
        warn("RANDOM WEIGHTS: the picture is noise; the times are those of the model")
    if args.model == "fake":
        from models.fake import FakeGenerator

        return FakeGenerator()
    options = PublishedOptions(
        args.size,
        args.dtype,
        tuple(args.devices.split(",")),
        without_reference=tuple(filter(None, args.without_reference.split(","))),
    )
    from models.pipeline import load_generator  # brings torch; the fake does without

    return load_generator(
        args.model,
        weights=args.weights,
        threads=args.threads,
        plan=args.plan,
        engine=args.engine,
        options=options,
    )
