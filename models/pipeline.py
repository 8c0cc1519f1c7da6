"""Generates video with a diffusion pipeline: batches streams, samples latents, decodes frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.audio import SAMPLE_RATE
from models.generator import Identity
from models.io.face_box import FaceBox
from models.lightning.devices import DeviceReplica
from models.lightning.plan import StepPlan
from models.lightning.sampler import Sampler
from models.spec import DiffusionSpec


class StreamState(Protocol):
    """What a pipeline carries from chunk to chunk of one session."""

    def close(self) -> None:
        """Release the tensors that it holds; it must not be used afterwards."""
        ...


State = TypeVar("State", bound=StreamState)
Conditioning = TypeVar("Conditioning")


class Pipeline(Protocol[Identity, State, Conditioning]):
    """A denoiser and what surrounds it: portrait and audio encoders, conditioning, frame decoder.

    Attributes:
        backbone: the denoiser that ``sample`` gives to the sampler.
        size: (height, width) of a frame, pixels.
    """

    @property
    def spec(self) -> DiffusionSpec:
        """Sizes, frame rate and noise schedule."""
        ...

    backbone: Any
    size: tuple[int, int]

    def encode_portrait(self, picture: NDArray[np.uint8], box: FaceBox | None = None) -> Identity:
        """RGB uint8 [H, W, 3] -> what is static for the portrait; ``box`` chooses a face.

        Raises:
            PortraitError: the picture cannot be used.
        """
        ...

    def new_stream(
        self, identity: Identity, seed: int, speech: NDArray[np.float32] | None = None
    ) -> State:
        """Start a session's state; ``speech`` is the whole recording, where it is known."""
        ...

    def prepare_conditioning(self, stream: State, audio: NDArray[np.float32]) -> Conditioning:
        """Conditioning of the stream's next chunk, batch 1; advances the stream's audio.

        Raises:
            AudioError: the audio cannot be used; the stream is then as it was.
        """
        ...

    def sample(
        self, sampler: Sampler, streams: Sequence[State], conditions: Sequence[Conditioning]
    ) -> Tensor:
        """Clean latents [B, C, F, H, W] of every stream's next chunk."""
        ...

    def decode(self, streams: Sequence[State], latents: Tensor) -> Tensor:
        """Latents [B, C, F, H, W] of B streams -> RGB uint8 [B, F, H, W, 3]."""
        ...


@runtime_checkable
class DrawingPipeline(Protocol):
    """A pipeline that draws frame by frame; others need not."""

    def draw(self, streams: Sequence[Any], latents: Tensor) -> list[Iterator[NDArray[np.uint8]]]:
        """As ``Pipeline.decode``, but for each stream an iterator of frames RGB uint8 [H, W, 3]."""
        ...


AnyPipeline: TypeAlias = Pipeline[Any, Any, Any]
"""A pipeline chosen at run time."""


class DiffusionGenerator(Generic[Identity, State]):
    """Implements ``models.generator.Generator`` with any ``Pipeline``.

    It is ``Staged``, ``Abandonable``, ``Threaded`` and ``FrameByFrame`` too.
    """

    def __init__(
        self,
        pipeline: Pipeline[Identity, State, Any],
        plan: StepPlan,
        *,
        replicas: Sequence[DeviceReplica] = (),
        most_threads: int = 1,
    ) -> None:
        """``most_threads``: of PyTorch, where their number is free."""
        spec = pipeline.spec
        self.pipeline = pipeline
        self.plan = plan
        self.fps = spec.fps
        self.size = pipeline.size
        self.chunk_frames = spec.chunk_frames
        self.lookahead_frames = spec.lookahead_frames
        self.sample_rate = SAMPLE_RATE
        self.replicas = tuple(replicas)
        self.on_stage: Callable[[str], object] = lambda stage: None
        self.on_step: Callable[[], object] = lambda: None
        self.most_threads = most_threads
        self._sampler = Sampler(spec.schedule, plan, replicas=replicas)
        self._sampler.on_call = lambda: self.on_step()

    def prepare(self, portrait: NDArray[np.uint8], box: FaceBox | None = None) -> Identity:
        """Encode one portrait; see ``Generator.prepare``."""
        return self.pipeline.encode_portrait(portrait, box)

    def open(
        self, identity: Identity, *, seed: int = 0, speech: NDArray[np.float32] | None = None
    ) -> State:
        """Start a stream for an identity; see ``Generator.open``."""
        return self.pipeline.new_stream(identity, seed, speech)

    def generate(
        self, streams: Sequence[State], audio: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.uint8]]:
        """The next chunk of every stream, in one batch; see ``Generator.generate``."""
        if not streams:
            return []
        latents = self._sample(streams, audio)
        pictures = list(self.pipeline.decode(streams, latents).cpu().numpy())
        self.on_stage("decode")
        return pictures

    def generate_frames(
        self, streams: Sequence[State], audio: Sequence[NDArray[np.float32]]
    ) -> list[Iterator[NDArray[np.uint8]]]:
        """The same, frame by frame where the pipeline can; see ``FrameByFrame``."""
        if not isinstance(self.pipeline, DrawingPipeline):
            return [iter(pictures) for pictures in self.generate(streams, audio)]
        if not streams:
            return []
        chunks = self.pipeline.draw(streams, self._sample(streams, audio))
        return [self._drawn(frames) for frames in chunks]

    def _drawn(self, frames: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        for frame in frames:
            self.on_stage("decode")
            yield frame

    def _sample(self, streams: Sequence[State], audio: Sequence[NDArray[np.float32]]) -> Tensor:
        pipeline = self.pipeline
        conditions = [
            pipeline.prepare_conditioning(stream, samples)
            for stream, samples in zip(streams, audio, strict=True)
        ]
        self.on_stage("features")
        latents = pipeline.sample(self._sampler, streams, conditions)
        self.on_stage("denoise")
        return latents

    def use_threads(self, count: int) -> None:
        """Choose how many threads PyTorch uses; see ``Threaded``."""
        torch.set_num_threads(count)

    def close(self, stream: State) -> None:
        """Release the stream's tensors; see ``Generator.close``."""
        stream.close()
