"""Measures ``mini`` part by part, and the whole path from sound to frames under three plans.

At 25 frames per second, one frame may take 40 ms. The time is spent in

    features   speech encoder over 31 frames of sound, and the conditioning: per chunk
    key        the full network: 83 % convolutions, bound by arithmetic
    light      conv_in, the last layer and the output: 16 % of a key step's operations but 23 % of
               its time: attention over 1024 tokens is bound by memory, not by arithmetic
    light_dfa  the same with attention over the face only (DFA): saves few operations, more time
    decode     latents to pixels: convolutions at 64x64
    encode     pixels to H.264, by the encoder that the caller gives

so that a plan of K key steps out of T takes K key + (T - K) light. The whole is measured, not
summed: ``plain`` has a key at every step, ``lightning`` is the plan without foreground attention,
``lightning_dfa`` with it. Variants take turns (A B C A B C ...), so that other load on the machine
affects all of them equally; medians and quartiles are over the turns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.bench.flops import flops_of
from models.bench.target import BenchTarget
from models.bench.timing import Call, Spread
from models.lightning.plan import StepPlan, full_plan
from models.lightning.sampler import Sampler
from models.mini.compiled import CompiledMini
from models.mini.unet import MiniUNet

Frames = NDArray[np.uint8]
Encode = Callable[[Frames], object]


def variants(plan: StepPlan) -> dict[str, StepPlan]:
    """The three plans to compare, by name."""
    return {
        "plain": full_plan(plan.steps),
        "lightning": replace(plan, foreground=False),
        "lightning_dfa": replace(plan, foreground=True),
    }


def timed_calls(target: BenchTarget, encode: Encode | None) -> dict[str, Call]:
    """All calls to time, by name; each is for one chunk, ``portrait_encode`` for a portrait."""
    paths = {name: _full_path(target, plan, encode) for name, plan in variants(target.plan).items()}
    return {**paths, **_parts(target, encode)}


def gflop_per_frame(target: BenchTarget) -> dict[str, float]:
    """10^9 floating-point operations for one frame: of every plan, of each step, of decoding.

    An engine runs the same network as PyTorch, so that its operations are counted there.
    """
    pipeline, backbone = target.pipeline, target.pipeline.backbone
    network = backbone.net if isinstance(backbone, CompiledMini) else backbone
    frames = pipeline.spec.chunk_frames
    channels, height, width = pipeline.spec.latent
    latents = torch.zeros(frames, channels, height, width)
    calls = {**_steps(target, network), "decode": lambda: pipeline.autoencoder.decode(latents)}
    counts = {name: flops_of(call) / frames / 1e9 for name, call in calls.items()}
    plans = {
        name: plan.cost(counts["key"], counts["light_dfa" if plan.foreground else "light"])
        for name, plan in variants(target.plan).items()
    }
    return {**plans, **counts}


def _full_path(target: BenchTarget, plan: StepPlan, encode: Encode | None) -> Call:
    """One chunk from sound to frames, encoded if ``encode`` is given; has its own stream."""
    pipeline, speech = target.pipeline, target.speech()
    stream = pipeline.new_stream(target.identity, seed=0)
    sampler = Sampler(pipeline.spec.schedule, plan)

    def run() -> None:
        condition = pipeline.backbone.collate([pipeline.prepare_conditioning(stream, next(speech))])
        latents = sampler(pipeline.backbone, pipeline.init_latents([stream]), condition)
        frames = pipeline.decode([stream], latents)
        if encode is not None:
            for frame in frames[0].numpy():
                encode(frame)

    return run


def _parts(target: BenchTarget, encode: Encode | None) -> dict[str, Call]:
    """The parts alone."""
    pipeline, speech = target.pipeline, target.speech()
    stream = pipeline.new_stream(target.identity, seed=0)
    z = pipeline.init_latents([stream])
    pictures = cycle(pipeline.decode([stream], z)[0].numpy())
    pixels = torch.from_numpy(target.identity.portrait.window).permute(2, 0, 1)[None].float() / 255
    parts: dict[str, Call] = {
        "features": lambda: pipeline.prepare_conditioning(stream, next(speech)),
        **_steps(target, pipeline.backbone),
        "decode": lambda: pipeline.decode([stream], z),
        "portrait_encode": lambda: pipeline.autoencoder.encode(pixels),
    }
    if encode is not None:
        encode_frame = encode
        frames = pipeline.spec.chunk_frames
        parts["encode"] = lambda: [encode_frame(next(pictures)) for _ in range(frames)]
    return {name: torch.inference_mode()(part) for name, part in parts.items()}


def _steps(target: BenchTarget, denoiser: MiniUNet | CompiledMini) -> dict[str, Call]:
    """A key step and light steps in the middle of the plan, of one chunk."""
    pipeline, plan = target.pipeline, target.plan
    stream = pipeline.new_stream(target.identity, seed=0)
    condition = pipeline.prepare_conditioning(stream, next(target.speech()))
    z = pipeline.init_latents([stream])
    sampler = Sampler(pipeline.spec.schedule, plan)
    t = torch.tensor([sampler.timesteps[len(sampler.timesteps) // 2]])
    with torch.inference_mode():
        _, cached = denoiser.full(z, t, condition)
        _, cached_dfa = denoiser.full(z, t, condition, keep=True)
    return {
        "key": lambda: denoiser.full(z, t, condition, keep=plan.foreground),
        "light": lambda: denoiser.light(cached, z, t, condition),
        "light_dfa": lambda: denoiser.light(cached_dfa, z, t, condition),
    }


def summary(target: BenchTarget, spent: dict[str, Spread]) -> dict[str, Any]:
    """The JSON record: milliseconds and operations per frame."""
    frames = target.pipeline.spec.chunk_frames
    once = spent.pop("portrait_encode")
    each = {name: spread.divided(frames) for name, spread in spent.items()}
    each["total"] = each["lightning_dfa" if target.plan.foreground else "lightning"]
    return {
        "plan": str(target.plan),
        "fps": round(1000 / each["total"].median, 1),
        "ms_per_frame": {name: round(s.median, 3) for name, s in each.items()},
        "quartiles_ms": {name: [round(s.low, 3), round(s.high, 3)] for name, s in each.items()},
        "ms_per_portrait": {"portrait_encode": round(once.median, 3)},
        "gflop_per_frame": {n: round(g, 3) for n, g in gflop_per_frame(target).items()},
        "foreground_share": round(target.foreground_share, 3),
        "weights": target.weights,
    }
