"""Measures the model part by part, and the whole of what makes a frame, by three plans.

What is measured. One frame at 25 frames a second has 40 ms to be made in. The time goes into

    features   the speech encoder over 31 frames of sound, and the conditions made of it: per chunk
    key        the full network: 83 % convolutions, bound by arithmetic
    light      conv_in, the last layer and the output: 16 % of a key step's operations but 23 % of
               its time: attention over 1024 places is bound by memory, not by arithmetic
    light_dfa  the same with attention over the face only (DFA): saves few operations, more time
    decode     latents to pixels: convolutions at 64x64
    encode     pixels to H.264; measured by whoever has an encoder

so that a plan of K key steps out of T takes K key + (T - K) light. The whole is measured too, not
added up: ``plain`` has a key at every step, ``lightning`` is the plan without foreground attention,
``lightning_dfa`` with it. Variants take turns (A B C A B C ...), so that whatever else the machine
does hits all of them alike; medians and quartiles are over the turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.bench.target import BenchTarget
from models.lightning.cost import MiniCost, decode_cost, plan_cost
from models.lightning.plan import StepPlan, full_plan
from models.lightning.sampler import Sampler

Frames = NDArray[np.uint8]
Encode = Callable[[Frames], object]
Part = Callable[[], object]

WARM_UP = 2


@dataclass(frozen=True)
class Spread:
    """Milliseconds: the median and the quartiles around it."""

    low: float
    median: float
    high: float

    def divided(self, by: float) -> Spread:
        """Of one out of ``by``."""
        return Spread(self.low / by, self.median / by, self.high / by)


def measure(
    parts: Mapping[str, Part],
    rounds: Iterable[object],
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Spread]:
    """Run the parts in turns, once in each of ``rounds``; what each took.

    Args:
        clock: gives seconds.
    """
    for part in list(parts.values()) * WARM_UP:
        part()
    spent: dict[str, list[float]] = {name: [] for name in parts}
    for _ in rounds:
        for name, part in parts.items():
            began = clock()
            part()
            spent[name].append(1000 * (clock() - began))
    return {name: _spread(times) for name, times in spent.items()}


def variants(plan: StepPlan) -> dict[str, StepPlan]:
    """The three plans that are compared, by name."""
    return {
        "plain": full_plan(plan.steps),
        "lightning": replace(plan, foreground=False),
        "lightning_dfa": replace(plan, foreground=True),
    }


def parts_of(subject: BenchTarget, encode: Encode | None) -> dict[str, Part]:
    """Everything to be measured, by name; all for one chunk, ``portrait_encode`` for a portrait."""
    wholes = {name: _whole(subject, plan, encode) for name, plan in variants(subject.plan).items()}
    return {**wholes, **_pieces(subject, encode)}


def gflop_per_frame(subject: BenchTarget) -> dict[str, float]:
    """Operations of one frame, as the cost model counts them."""
    spec, share = subject.pipeline.spec, subject.foreground_share
    cost = MiniCost(spec)
    plans = variants(subject.plan)
    counts = {name: plan_cost(plan, spec, share) for name, plan in plans.items()}
    counts["key"], counts["light"] = cost.step_of(plans["lightning"], share)
    _, counts["light_dfa"] = cost.step_of(plans["lightning_dfa"], share)
    counts["decode"] = decode_cost(spec)
    return {name: count.total / 1e9 for name, count in counts.items()}


def _whole(subject: BenchTarget, plan: StepPlan, encode: Encode | None) -> Part:
    """Sound in, pictures (and their code) out, one chunk a call, by a stream of its own."""
    pipeline, speech = subject.pipeline, subject.speech()
    stream = pipeline.new_stream(subject.identity, seed=0)
    sampler = Sampler(pipeline.spec.schedule, plan)

    def run() -> None:
        condition = pipeline.backbone.collate([pipeline.prepare_conditioning(stream, next(speech))])
        latents = sampler(pipeline.backbone, pipeline.init_latents([stream]), condition)
        frames = pipeline.decode([stream], latents)
        if encode is not None:
            for frame in frames[0].numpy():
                encode(frame)

    return run


def _pieces(subject: BenchTarget, encode: Encode | None) -> dict[str, Part]:
    """The parts alone, at a step in the middle of the plan."""
    pipeline, backbone, speech = subject.pipeline, subject.pipeline.backbone, subject.speech()
    stream = pipeline.new_stream(subject.identity, seed=0)
    condition = pipeline.prepare_conditioning(stream, next(speech))
    z = pipeline.init_latents([stream])
    sampler = Sampler(pipeline.spec.schedule, subject.plan)
    t = torch.tensor([sampler.times[len(sampler.times) // 2]])
    with torch.inference_mode():
        _, cached = backbone.full(z, t, condition)
        _, kept = backbone.full(z, t, condition, keep=True)
    pictures: Iterator[Frames] = _forever(pipeline.decode([stream], z)[0].numpy())
    pixels = torch.from_numpy(subject.identity.portrait.crop).permute(2, 0, 1)[None].float() / 255
    pieces: dict[str, Part] = {
        "features": lambda: pipeline.prepare_conditioning(stream, next(speech)),
        "key": lambda: backbone.full(z, t, condition, keep=subject.plan.foreground),
        "light": lambda: backbone.tail(cached, z, t, condition),
        "light_dfa": lambda: backbone.tail(kept, z, t, condition),
        "decode": lambda: pipeline.decode([stream], z),
        "portrait_encode": lambda: pipeline.autoencoder.encode(pixels),
    }
    if encode is not None:
        code = encode
        pieces["encode"] = lambda: [code(next(pictures)) for _ in range(pipeline.spec.chunk_frames)]
    return {name: torch.inference_mode()(piece) for name, piece in pieces.items()}


def _forever(frames: Frames) -> Iterator[Frames]:
    while True:
        yield from frames


def _spread(times: list[float]) -> Spread:
    if len(times) == 1:
        return Spread(times[0], times[0], times[0])
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return Spread(low, median, high)


def summary(subject: BenchTarget, spent: dict[str, Spread]) -> dict[str, Any]:
    """The record that is printed last: milliseconds and operations per frame."""
    frames = subject.pipeline.spec.chunk_frames
    once = spent.pop("portrait_encode")
    each = {name: spread.divided(frames) for name, spread in spent.items()}
    each["total"] = each["lightning_dfa" if subject.plan.foreground else "lightning"]
    return {
        "plan": str(subject.plan),
        "fps": round(1000 / each["total"].median, 1),
        "ms_per_frame": {name: round(s.median, 3) for name, s in each.items()},
        "quartiles_ms": {name: [round(s.low, 3), round(s.high, 3)] for name, s in each.items()},
        "ms_per_portrait": {"portrait_encode": round(once.median, 3)},
        "gflop_per_frame": {n: round(g, 3) for n, g in gflop_per_frame(subject).items()},
        "foreground_share": round(subject.foreground_share, 3),
        "weights": subject.weights,
    }
