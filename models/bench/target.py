"""The target of ``livehead bench model``: networks, one identity, and endless speech."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.checkpoints.random_init import seed_of
from models.io.audio import read_speech
from models.io.image import load_image
from models.lightning.plan import StepPlan, parse
from models.mini.audio import FRAME_SAMPLES, AudioEncoder
from models.mini.autoencoder import Autoencoder
from models.mini.checkpoint import BUNDLED, load_mini
from models.mini.config import CARD, MINI
from models.mini.mouth import BlendshapeRegressor
from models.mini.pipeline import MiniIdentity, MiniPipeline
from models.mini.unet import MiniUNet
from models.options import RANDOM
from models.runtime.choose import prepare_engine
from models.runtime.eager import preferred_dtype
from models.runtime.engine import Engine
from models.weights.bundled import WEIGHTS, avatar_picture


@dataclass(frozen=True)
class BenchTarget:
    """What is measured.

    Attributes:
        pipeline: with its networks.
        identity: of the first bundled avatar.
        plan: chosen by the user, or stored with the weights.
        weights: their source, for the record.
        random: whether the weights are random; the times are right, the frames are noise.
    """

    pipeline: MiniPipeline
    identity: MiniIdentity
    plan: StepPlan
    weights: str
    random: bool

    @property
    def foreground_share(self) -> float:
        """Face tokens in all tokens of the identity."""
        _, height, width = self.pipeline.spec.latent
        foreground = self.identity.reference.foreground
        return 1.0 if foreground is None else foreground.shape[1] / (height * width)

    def speech(self) -> Iterator[NDArray[np.float32]]:
        """Audio chunks, each with its look-ahead; endless."""
        spec = self.pipeline.spec
        samples = read_speech(min((WEIGHTS / "clips").glob("*.wav")))
        step, ahead = spec.chunk_frames * FRAME_SAMPLES, spec.lookahead_frames * FRAME_SAMPLES
        starts = range(0, len(samples) - step - ahead, step)
        for start in cycle(starts):
            yield samples[start : start + step + ahead]


def load_target(
    weights: str | None, plan: str | None, threads: int, engine: str = "auto"
) -> BenchTarget:
    """Load weights from a folder, the bundled ones (None), or random ones (``random:SEED``).

    Without bundled weights in the installation, random ones are used: they take as long.

    Raises:
        WeightsError: weights are missing or do not fit.
        LiveheadError: the seed is no number (``bad_option``), the plan is none (``bad_plan``) or
            the engine is not installed (``missing_engine``).
    """
    runner = prepare_engine(engine, threads)
    if weights is None and not BUNDLED.is_dir():
        weights = RANDOM + "0"
    random = weights is not None and weights.startswith(RANDOM)
    if weights is not None and random:
        pipeline, stored = _random_pipeline(weights, threads, runner), parse(CARD.plan)
    else:
        pipeline, stored = load_mini(
            Path(weights) if weights else None, threads=threads, engine=runner
        )
    identity = pipeline.encode_portrait(load_image(avatar_picture()))
    chosen = parse(plan) if plan else stored
    return BenchTarget(pipeline, identity, chosen, weights or "bundled", random)


def _random_pipeline(weights: str, threads: int, engine: Engine | None) -> MiniPipeline:
    torch.manual_seed(seed_of(weights))
    return MiniPipeline(
        MINI,
        MiniUNet(MINI),
        Autoencoder(MINI.codec),
        BlendshapeRegressor(MINI.audio_features, MINI.audio_window),
        AudioEncoder(threads=threads),
        preferred_dtype(),
        engine,
    )
