"""The generator around a diffusion backbone: batches streams, samples latents, decodes frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models.lightning.devices import DeviceReplica
from models.lightning.plan import StepPlan
from models.lightning.sampler import Sampler
from models.spec import DiffusionSpec


class Pipeline(Protocol):
    """A backbone with everything around it: what turns portraits and audio into its conditions."""

    @property
    def spec(self) -> DiffusionSpec:
        """The row that describes the backbone."""
        ...

    backbone: Any
    size: tuple[int, int]

    def encode_portrait(self, picture: NDArray[np.uint8]) -> Any:
        """RGB uint8 [H, W, 3] -> what is static for the portrait."""
        ...

    def new_stream(
        self, identity: Any, seed: int, speech: NDArray[np.float32] | None = None
    ) -> Any:
        """Start the state that a session carries; ``speech`` is all of it, where it is known."""
        ...

    def prepare_conditioning(self, stream: Any, audio: NDArray[np.float32]) -> Any:
        """Conditions of the stream's next chunk, batch 1; advances the stream."""
        ...

    def sample(self, sampler: Sampler, streams: Sequence[Any], conditions: Sequence[Any]) -> Tensor:
        """Clean latents [B, C, F, H, W] of every stream's next chunk."""
        ...

    def decode(self, streams: Sequence[Any], latents: Tensor) -> Tensor:
        """Latents [B, C, F, H, W] of B streams -> RGB uint8 [B, F, H, W, 3]."""
        ...


class DiffusionGenerator:
    """Implements ``models.generator.Generator`` for any ``Pipeline``."""

    def __init__(
        self, pipeline: Pipeline, plan: StepPlan, *, lanes: Sequence[DeviceReplica] = ()
    ) -> None:
        spec = pipeline.spec
        self.pipeline = pipeline
        self.plan = plan
        self.fps = spec.fps
        self.size = pipeline.size
        self.chunk_frames = spec.chunk_frames
        self.lookahead_frames = spec.lookahead_frames
        self.sample_rate = 16_000
        self.lanes = tuple(lanes)
        self._sampler = Sampler(spec.schedule, plan, lanes=lanes)

    def prepare(self, portrait: NDArray[np.uint8]) -> Any:
        """Compute what is static for one portrait; see ``Generator.prepare``."""
        return self.pipeline.encode_portrait(portrait)

    def open(
        self, identity: Any, *, seed: int = 0, speech: NDArray[np.float32] | None = None
    ) -> Any:
        """Start a stream for an identity; see ``Generator.open``."""
        return self.pipeline.new_stream(identity, seed, speech)

    def generate(
        self, streams: Sequence[Any], audio: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.uint8]]:
        """The next chunk of every stream, in one batch; see ``Generator.generate``."""
        pipeline = self.pipeline
        if not streams:
            return []
        conditions = [
            pipeline.prepare_conditioning(stream, samples)
            for stream, samples in zip(streams, audio, strict=True)
        ]
        latents = pipeline.sample(self._sampler, streams, conditions)
        return list(pipeline.decode(streams, latents).cpu().numpy())
