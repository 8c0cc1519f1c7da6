"""``livehead bench speed``: a published model's plain and accelerated sampling, in one run.

Both plans take turns, so that other load on the machine slows both equally. The measured ratio is
reported with the ratio of operations (``livehead bench cost``).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.bench.cost import Costs
from models.bench.flops import total
from models.bench.probes import cost_counter
from models.bench.timing import hardware
from models.commands.generator import load_diffusion_generator
from models.errors import LiveheadError
from models.generator import chunk_samples
from models.io import console
from models.io.image import load_image
from models.lightning.plan import StepPlan, full_plan, parse
from models.lightning.sampler import Sampler
from models.options import DTYPES, RANDOM, ModelOptions
from models.pipeline import DiffusionGenerator
from models.registry import measured_models
from models.weights.bundled import avatar_picture

DEFAULT_PLAN = "4:0+dfa+parallel"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", choices=measured_models(), required=True)
    parser.add_argument("--weights", default="random:0", help="folder, or random:SEED (default)")
    parser.add_argument("--size", type=int, default=256, help="pixels (default %(default)s)")
    parser.add_argument("--frames", type=int, default=4, help="a call (default %(default)s)")
    parser.add_argument("--plan", default=DEFAULT_PLAN, help="default: %(default)s")
    parser.add_argument("--dtype", choices=DTYPES, default="", help="default: fp32 on a CPU")
    parser.add_argument("--devices", default="cpu", help="such as cuda:0,cuda:1 (default cpu)")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="medians of (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")


def run(args: argparse.Namespace) -> int:
    """Measure and report.

    Raises:
        LiveheadError: an option or the weights cannot be used.
    """
    if args.rounds < 1 or args.frames < 1:
        raise LiveheadError(
            "expected at least one round and one frame, got"
            f" --rounds {args.rounds} --frames {args.frames}",
            code="bad_option",
        )
    plan = parse(args.plan)
    options = ModelOptions(
        model=args.model,
        weights=args.weights,
        threads=args.threads,
        plan=str(plan),
        size=(args.size, args.size),
        dtype=args.dtype,
        devices=tuple(args.devices.split(",")),
        frames=args.frames,
    )
    if args.weights.startswith(RANDOM):
        console.warn("random weights: the times are those of the model, the picture is noise")
    generator = load_diffusion_generator(options)
    target = make_speed_target(generator)
    costs = cost_counter(args.model)(args.size, args.frames, target.share)
    plans = {"plain": full_plan(plan.steps), "accelerated": plan}
    times = time_sampling(target, plans, args.rounds)
    record = _record(args, plan, target, costs, times)
    _show(record)
    if args.json:
        console.emit_json(record)
    return 0


@dataclass(frozen=True)
class SpeedTarget:
    """One chunk to sample: generator, initial latents, conditioning, share of face tokens."""

    generator: DiffusionGenerator[Any, Any]
    z: Tensor
    condition: Any
    share: float


def make_speed_target(generator: DiffusionGenerator[Any, Any]) -> SpeedTarget:
    """The bundled portrait with one chunk of soft noise as speech."""
    pipeline: Any = generator.pipeline
    stream = generator.open(generator.prepare(load_image(avatar_picture())), seed=0)
    random = np.random.default_rng(0)
    speech = (0.1 * random.standard_normal(chunk_samples(generator))).astype(np.float32)
    condition = pipeline.backbone.collate([pipeline.prepare_conditioning(stream, speech)])
    z = pipeline.init_latents([stream])
    return SpeedTarget(
        generator, z, condition, condition.face_tokens.index.shape[1] / z[0, 0, 0].numel()
    )


def time_sampling(
    target: SpeedTarget,
    plans: dict[str, StepPlan],
    rounds: int,
    clock: Callable[[], float] = perf_counter,
) -> dict[str, float]:
    """Seconds to sample one chunk by each plan, medians; plans take turns.

    Devices share the parallel light steps.
    """
    pipeline: Any = target.generator.pipeline
    replicas = target.generator.replicas
    samplers = {
        name: Sampler(pipeline.spec.schedule, plan, replicas=replicas if plan.parallel else ())
        for name, plan in plans.items()
    }
    spent: dict[str, list[float]] = {name: [] for name in plans}
    total_runs = rounds * len(plans)
    with console.bar("sampling", total_runs, "run") as bar:
        for _ in range(rounds):
            for name, sampler in samplers.items():
                began = clock()
                sampler(pipeline.backbone, target.z, target.condition)
                _synchronize(target.z)
                spent[name].append(clock() - began)
                bar.update(1)
    return {name: median(times) for name, times in spent.items()}


def _synchronize(z: Tensor) -> None:
    if z.is_cuda:
        torch.cuda.synchronize(z.device)


def promised_ratio(costs: Costs, plan: StepPlan) -> float:
    """Operations of T key steps divided by those of the plan."""
    key, light = total(costs.key), total(costs.light_dfa if plan.foreground else costs.light)
    return plan.steps * key / plan.cost(key, light)


def _record(
    args: argparse.Namespace,
    plan: StepPlan,
    target: SpeedTarget,
    costs: Costs,
    times: dict[str, float],
) -> dict[str, Any]:
    measured, expected = times["plain"] / times["accelerated"], promised_ratio(costs, plan)
    return {
        "model": args.model,
        "size": args.size,
        "frames": args.frames,
        "plan": str(plan),
        "devices": args.devices,
        "foreground": round(target.share, 3),
        "seconds": {name: round(value, 3) for name, value in times.items()},
        "ratio": {
            "measured": round(measured, 3),
            "operations": round(expected, 3),
            "share": round(measured / expected, 3),
        },
        "dtype": str(target.generator.pipeline.backbone.network.conv_in.weight.dtype)[6:],
        "threads": args.threads,
        "hardware": hardware(),
    }


def _show(record: dict[str, Any]) -> None:
    seconds, ratio = record["seconds"], record["ratio"]
    rows = [
        ("plain, seconds a chunk", seconds["plain"]),
        (f"{record['plan']}, seconds a chunk", seconds["accelerated"]),
        ("times faster", ratio["measured"]),
        ("times fewer operations", ratio["operations"]),
        ("measured / operations", ratio["share"]),
    ]
    console.table(("what", record["model"]), rows)
