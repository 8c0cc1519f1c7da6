"""``DiffusionGenerator`` with a toy pipeline: batches, chunk by chunk, until a stream is closed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.generator import STAGES, Abandonable, FrameByFrame, Generator, Staged, chunk_samples
from models.io.face_box import FaceBox
from models.lightning.plan import full_plan
from models.lightning.sampler import Sampler
from models.pipeline import DiffusionGenerator
from models.spec import DiffusionSpec

pytestmark = pytest.mark.unit


@dataclass
class ToyStream:
    """Frames made so far, and whether it was closed."""

    brightness: int
    chunks: list[float] = field(default_factory=list)
    closed: bool = False

    def close(self) -> None:
        self.closed = True


class ToyPipeline:
    """Every frame of a stream has the brightness of its portrait plus the chunk's loudness."""

    spec = DiffusionSpec("toy", 25.0, 2, 1, 1, (1, 4, 4))
    backbone = None
    size = (4, 4)

    def encode_portrait(self, picture: NDArray[np.uint8], box: FaceBox | None = None) -> int:
        return int(picture.mean())

    def new_stream(
        self, identity: int, seed: int, speech: NDArray[np.float32] | None = None
    ) -> ToyStream:
        return ToyStream(identity + seed)

    def prepare_conditioning(self, stream: ToyStream, audio: NDArray[np.float32]) -> float:
        stream.chunks.append(float(audio.max()))
        return stream.chunks[-1]

    def sample(
        self, sampler: Sampler, streams: Sequence[ToyStream], conditions: Sequence[float]
    ) -> Tensor:
        levels = [s.brightness + c for s, c in zip(streams, conditions, strict=True)]
        return torch.tensor(levels).view(-1, 1, 1, 1, 1).expand(-1, 1, 2, 4, 4)

    def decode(self, streams: Sequence[ToyStream], latents: Tensor) -> Tensor:
        return latents.permute(0, 2, 3, 4, 1).expand(-1, -1, -1, -1, 3).to(torch.uint8)


@pytest.fixture
def generator() -> DiffusionGenerator[int, ToyStream]:
    return DiffusionGenerator(ToyPipeline(), full_plan(1))


def test_streams_are_generated_in_one_batch(generator: DiffusionGenerator[int, ToyStream]) -> None:
    identity = generator.prepare(np.full((8, 8, 3), 9, np.uint8))
    streams = [generator.open(identity), generator.open(identity, seed=20)]
    audio = [np.full(chunk_samples(generator), level, np.float32) for level in (1.0, 3.0)]
    dark, bright = generator.generate(streams, audio)
    assert dark.shape == bright.shape == (2, 4, 4, 3)
    assert (dark == 10).all() and (bright == 32).all()
    assert generator.generate([], []) == []


def test_it_says_when_each_stage_has_ended(
    generator: DiffusionGenerator[int, ToyStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(generator, Staged)
    told: list[str] = []
    decode = generator.pipeline.decode

    def decoding(streams: Sequence[ToyStream], latents: Tensor) -> Tensor:
        told.append("decoding")
        return decode(streams, latents)

    monkeypatch.setattr(generator.pipeline, "decode", decoding)
    generator.on_stage = told.append
    stream = generator.open(1)
    generator.generate([stream], [np.zeros(chunk_samples(generator), np.float32)])
    assert told == [*STAGES[:2], "decoding", STAGES[2]]
    generator.generate([], [])
    assert len(told) == 4


class DrawingToy(ToyPipeline):
    """Draws frame by frame."""

    def __init__(self) -> None:
        self.drawn = 0

    def draw(
        self, streams: Sequence[ToyStream], latents: Tensor
    ) -> list[Iterator[NDArray[np.uint8]]]:
        return [self._draw(frames) for frames in self.decode(streams, latents).numpy()]

    def _draw(self, frames: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        for frame in frames:
            self.drawn += 1
            yield frame


@pytest.mark.parametrize("pipeline", [ToyPipeline(), DrawingToy()], ids=["whole", "drawing"])
def test_frames_come_one_by_one_and_are_the_chunks(pipeline: ToyPipeline) -> None:
    generator = DiffusionGenerator(pipeline, full_plan(1))
    assert isinstance(generator, FrameByFrame)
    audio = [np.full(chunk_samples(generator), level, np.float32) for level in (1.0, 3.0)]
    chunks = generator.generate([generator.open(1), generator.open(5)], audio)
    singly = generator.generate_frames([generator.open(1), generator.open(5)], audio)
    for chunk, frames in zip(chunks, singly, strict=True):
        assert np.array_equal(chunk, list(frames))
    assert generator.generate_frames([], []) == []


def test_a_frame_is_drawn_when_it_is_asked_for_and_ends_a_stage() -> None:
    pipeline = DrawingToy()
    generator = DiffusionGenerator(pipeline, full_plan(1))
    told: list[str] = []
    generator.on_stage = told.append
    silence = np.zeros(chunk_samples(generator), np.float32)
    (frames,) = generator.generate_frames([generator.open(1)], [silence])
    assert (pipeline.drawn, told) == (0, [*STAGES[:2]])
    next(frames)
    assert (pipeline.drawn, told) == (1, [*STAGES])


def test_a_call_can_be_given_up_at_each_step(generator: DiffusionGenerator[int, ToyStream]) -> None:
    assert isinstance(generator, Abandonable)
    steps: list[int] = []
    generator.on_step = lambda: steps.append(len(steps))
    for _ in range(3):
        generator._sampler.on_call()
    assert steps == [0, 1, 2]


def test_closing_releases_the_stream_alone(generator: DiffusionGenerator[int, ToyStream]) -> None:
    assert isinstance(generator, Generator)
    first, second = generator.open(1), generator.open(2)
    generator.close(first)
    assert first.closed and not second.closed
