"""Runs step plans on the same inputs and measures their distance from full sampling."""

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
from models.evaluation.eval_clip import EvalClip, gather, rest_head
from models.evaluation.measure import psnr
from models.generator import audio_chunks
from models.io.console import progress
from models.lightning.plan import StepPlan
from models.lightning.sampler import Sampler
from models.mini.pipeline import ChunkLook, MiniPipeline
from models.pipeline import DiffusionGenerator

TIMED_CHUNKS = 12
"""Chunks on which plans take turns, so that other load on the machine slows all equally."""


@dataclass(frozen=True)
class SamplerInputs:
    """What the sampler needs for one clip.

    Attributes:
        pipeline: networks and everything around them.
        chunks: conditioning, initial latents and look of each chunk.
        open: starts a new stream of the same seed, to smooth chunk boundaries in.
    """

    pipeline: MiniPipeline
    chunks: list[tuple[Any, Tensor, ChunkLook]]
    open: Callable[[], Any]


@dataclass(frozen=True)
class PlanOutput:
    """Result of one plan: latents float16 [N, C, F, H, W] of N chunks, frames [T, H, W, 3]."""

    plan: StepPlan
    latents: Tensor
    frames: NDArray[np.uint8]


def prepare_inputs(
    generator: DiffusionGenerator[Any, Any], identity: Any, eval_clip: EvalClip
) -> SamplerInputs:
    """What the sampler needs of every chunk, as in ``DiffusionGenerator.generate``."""
    pipeline = generator.pipeline
    assert isinstance(pipeline, MiniPipeline)
    seed = int(eval_clip.clip.meta.get("identity_seed", 0))
    stream = generator.open(identity, seed=seed)
    rest_head(stream, eval_clip.clip)
    audio = list(audio_chunks(generator, eval_clip.audio))
    chunks = []
    for samples in progress(audio, "conditions", len(audio)):
        condition = pipeline.backbone.collate([pipeline.prepare_conditioning(stream, samples)])
        chunks.append((condition, pipeline.init_latents([stream]), stream.look))
    return SamplerInputs(pipeline, chunks, lambda: generator.open(identity, seed=seed))


def plan_name(plan: StepPlan) -> str:
    """A plan as ``parse`` reads it; full sampling as its number of steps."""
    return str(plan) if plan.light_steps else str(plan.steps)


@torch.inference_mode()
def run_plan(inputs: SamplerInputs, plan: StepPlan, eval_clip: EvalClip) -> PlanOutput:
    """Sample and decode every chunk by one plan."""
    pipeline, stream = inputs.pipeline, inputs.open()
    sampler = Sampler(pipeline.spec.schedule, plan)
    latents: list[Tensor] = []

    def run_chunk(chunk: tuple[Any, Tensor, ChunkLook]) -> NDArray[np.uint8]:
        condition, start, stream.look = chunk
        sampled = pipeline.smooth_boundary([stream], sampler(pipeline.backbone, start, condition))
        latents.append(sampled.half())
        decoded: NDArray[np.uint8] = pipeline.decode([stream], sampled)[0].numpy()
        return decoded

    chunks = progress(inputs.chunks, f"plan {plan_name(plan)}", len(inputs.chunks))
    frames = gather(map(run_chunk, chunks), stream.identity, eval_clip.frames).windows
    return PlanOutput(plan, torch.cat(latents), frames)


@torch.inference_mode()
def time_plans(
    inputs: SamplerInputs,
    plans: Sequence[StepPlan],
    frames: int,
    clock: Callable[[], float] = perf_counter,
) -> list[float]:
    """Milliseconds per frame for sampling and decoding by each plan, medians over chunks.

    Args:
        inputs: its first chunks are used; the very first warms up.
        plans: take turns chunk by chunk.
        frames: in a chunk.
        clock: returns seconds.
    """
    samplers = [Sampler(inputs.pipeline.spec.schedule, plan) for plan in plans]
    stream = inputs.open()
    spent: list[list[float]] = [[] for _ in plans]
    for condition, start, _ in inputs.chunks[: TIMED_CHUNKS + 1]:
        for sampler, times in zip(samplers, spent, strict=True):
            began = clock()
            latents = sampler(inputs.pipeline.backbone, start, condition)
            inputs.pipeline.decode([stream], latents)
            times.append(clock() - began)
    return [1000 * median(times[1:] or times) / frames for times in spent]


def distance(output: PlanOutput, reference: PlanOutput, eval_clip: EvalClip) -> Metrics:
    """Distance of a result from full sampling; metric names end with the latter's steps."""
    steps = reference.plan.steps
    squares = (output.latents.float() - reference.latents.float()).square().mean()
    return {
        f"latent_rmse_{steps}": float(squares.sqrt()),
        f"psnr_mouth_{steps}": psnr(output.frames, reference.frames, eval_clip.boxes),
    }
