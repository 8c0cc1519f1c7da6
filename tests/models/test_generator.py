"""A whole recording, chunk by chunk: every frame rate covers the sound, without drift."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.fake import FakeGenerator
from models.generator import (
    Generator,
    audio_chunks,
    chunk_samples,
    frame_count,
    frame_start,
    generate_all,
)

pytestmark = pytest.mark.unit

TEN_SECONDS = 160_000


@pytest.mark.parametrize("fps", [24.0, 25.0, 30.0, 50.0])
@pytest.mark.parametrize("samples", [1, 640, 641, 16_000, TEN_SECONDS])
def test_frames_cover_the_sound_and_no_more(fps: float, samples: int) -> None:
    generator = FakeGenerator(fps=fps)
    frames = frame_count(generator, samples)
    assert frames == math.ceil(samples * fps / 16_000)
    assert frame_start(generator, frames - 1) < samples <= frame_start(generator, frames)


@pytest.mark.parametrize("fps", [24.0, 30.0])
def test_chunks_do_not_drift(fps: float) -> None:
    generator = FakeGenerator(fps=fps)
    speech = np.arange(TEN_SECONDS, dtype=np.float32)
    chunks = list(audio_chunks(generator, speech))
    assert {chunk.shape for chunk in chunks} == {(chunk_samples(generator),)}
    last = (len(chunks) - 1) * generator.chunk_frames
    assert abs(float(chunks[-1][0]) - last * 16_000 / fps) <= 0.5


@pytest.mark.parametrize("fps", [24.0, 30.0])
def test_as_many_frames_are_made(fps: float) -> None:
    generator = FakeGenerator(fps=fps, size=(64, 64))
    stream = generator.open(generator.prepare(np.zeros((64, 64, 3), np.uint8)))
    speech = np.zeros(16_001, np.float32)
    assert sum(len(frames) for frames in generate_all(generator, stream, speech)) == int(fps) + 1


def test_a_closed_stream_makes_no_more_frames() -> None:
    generator = FakeGenerator(size=(64, 64))
    identity = generator.prepare(np.zeros((64, 64, 3), np.uint8))
    closed, other = generator.open(identity), generator.open(identity)
    generator.close(closed)
    generator.close(closed)
    silence = np.zeros(chunk_samples(generator), np.float32)
    with pytest.raises(ValueError, match="closed"):
        generator.generate([closed], [silence])
    assert len(generator.generate([other], [silence])) == 1


def test_the_fake_is_a_generator() -> None:
    assert isinstance(FakeGenerator(), Generator)
