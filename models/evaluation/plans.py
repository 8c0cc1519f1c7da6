"""Runs several step plans on the same inputs and says how far each is from the plain sampler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.evaluation.compare import Metrics
from models.evaluation.eval_clip import EvalClip, gather
from models.evaluation.measure import psnr
from models.generator import audio_chunks
from models.io.console import progress
from models.lightning.plan import StepPlan
from models.lightning.sampler import Sampler
from models.mini.pipeline import MiniPipeline
from models.pipeline import DiffusionGenerator

TIMED_CHUNKS = 12
"""Chunks on which plans are timed in turn, so that a busy machine slows all of them alike."""


@dataclass(frozen=True)
class Inputs:
    """All that the sampler needs for one subject.

    Attributes:
        family: networks and everything around them.
        chunks: condition and start noise of each chunk.
        open: starts a stream like the one that the conditions come from, to join chunks in.
    """

    pipeline: MiniPipeline
    chunks: list[tuple[Any, Tensor]]
    open: Callable[[], Any]


@dataclass(frozen=True)
class Output:
    """What one plan makes of the inputs: latents float16 [N, C, F, H, W] and frames [T, ...]."""

    plan: StepPlan
    latents: Tensor
    frames: NDArray[np.uint8]


def make_inputs(
    generator: DiffusionGenerator[Any, Any], identity: Any, subject: EvalClip
) -> Inputs:
    """What every plan starts from, as ``DiffusionGenerator.generate`` makes it."""
    pipeline = generator.pipeline
    assert isinstance(pipeline, MiniPipeline)
    seed = int(subject.clip.meta.get("identity_seed", 0))
    stream = generator.open(identity, seed=seed)
    audio = list(audio_chunks(generator, subject.audio))
    chunks = []
    for samples in progress(audio, "conditions", len(audio)):
        condition = pipeline.backbone.collate([pipeline.prepare_conditioning(stream, samples)])
        chunks.append((condition, pipeline.init_latents([stream])))
    return Inputs(pipeline, chunks, lambda: generator.open(identity, seed=seed))


def short(plan: StepPlan) -> str:
    """A plan as ``parse`` reads it, a plain one by its number of steps."""
    return str(plan) if plan.light_steps else str(plan.steps)


@torch.inference_mode()
def run_plan(inputs: Inputs, plan: StepPlan, subject: EvalClip) -> Output:
    """Sample and decode every chunk by one plan."""
    pipeline, stream = inputs.pipeline, inputs.open()
    sampler = Sampler(pipeline.spec.schedule, plan)
    latents: list[Tensor] = []

    def chunk(given: tuple[Any, Tensor]) -> NDArray[np.uint8]:
        condition, start = given
        sampled = pipeline.smooth_boundary([stream], sampler(pipeline.backbone, start, condition))
        latents.append(sampled.half())
        decoded: NDArray[np.uint8] = pipeline.decode([stream], sampled)[0].numpy()
        return decoded

    chunks = progress(inputs.chunks, f"plan {short(plan)}", len(inputs.chunks))
    frames = gather(map(chunk, chunks), subject.truth.shape)
    return Output(plan, torch.cat(latents), frames)


@torch.inference_mode()
def time_plans(
    inputs: Inputs,
    plans: Sequence[StepPlan],
    frames: int,
    clock: Callable[[], float] = perf_counter,
) -> list[float]:
    """Milliseconds per frame for sampling and decoding by each plan, medians over chunks.

    Args:
        inputs: the first chunks of which are used; the very first warms up.
        plans: take turns chunk by chunk.
        frames: in a chunk.
        clock: gives seconds.
    """
    samplers = [Sampler(inputs.pipeline.spec.schedule, plan) for plan in plans]
    stream = inputs.open()
    spent: list[list[float]] = [[] for _ in plans]
    for condition, start in inputs.chunks[: TIMED_CHUNKS + 1]:
        for sampler, times in zip(samplers, spent, strict=True):
            began = clock()
            latents = sampler(inputs.pipeline.backbone, start, condition)
            inputs.pipeline.decode([stream], latents)
            times.append(clock() - began)
    return [1000 * median(times[1:] or times) / frames for times in spent]


def distance(output: Output, reference: Output, subject: EvalClip) -> Metrics:
    """How far a plan's result is from a plain one's, by the reference's number of steps."""
    steps = reference.plan.steps
    squares = (output.latents.float() - reference.latents.float()).square().mean()
    return {
        f"latent_rmse_{steps}": float(squares.sqrt()),
        f"psnr_mouth_{steps}": psnr(output.frames, reference.frames, subject.boxes),
    }
