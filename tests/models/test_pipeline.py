"""``DiffusionGenerator`` with a toy pipeline: batches, chunk by chunk, until a stream is closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.generator import STAGES, Generator, Staged, chunk_samples
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


def test_closing_releases_the_stream_alone(generator: DiffusionGenerator[int, ToyStream]) -> None:
    assert isinstance(generator, Generator)
    first, second = generator.open(1), generator.open(2)
    generator.close(first)
    assert first.closed and not second.closed
