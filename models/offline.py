"""Runs a generator over a whole recording, chunk by chunk, exactly as a session would."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.generator import Generator, chunk_samples


def frames_for(generator: Generator, samples: int) -> int:
    """Frames that cover ``samples`` samples at the generator's rate, the last one partly silent."""
    return math.ceil(samples * _rate(generator) / generator.sample_rate)


def chunks_of(generator: Generator, speech: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """The audio of each ``generate`` call: a chunk and its look-ahead; zeros after the end.

    Args:
        speech: float32 [N] mono at the generator's sample rate.

    Yields:
        float32 [(F + look-ahead) * samples a frame] from where the chunk's first frame begins,
        until every frame of the speech is covered.
    """
    taken = chunk_samples(generator)
    for frame in range(0, frames_for(generator, speech.size), generator.chunk_frames):
        begin = frame_start(generator, frame)
        piece = speech[begin : begin + taken].astype(np.float32, copy=False)
        yield np.pad(piece, (0, taken - piece.size))


def frame_start(generator: Generator, frame: int) -> int:
    """The sample that a frame begins at; at 24 or 30 frames a second not every frame is as long."""
    return round(frame * generator.sample_rate / _rate(generator))


def _rate(generator: Generator) -> Fraction:
    """Frames per second, exactly."""
    return Fraction(generator.fps).limit_denominator(1001)


def play(
    generator: Generator, stream: Any, speech: NDArray[np.float32]
) -> Iterator[NDArray[np.uint8]]:
    """Frames of one stream for a recording, chunk by chunk.

    Yields:
        RGB uint8 [F, H, W, 3]; the last chunk holds only the frames that the speech reaches.
    """
    left = frames_for(generator, speech.size)
    for audio in chunks_of(generator, speech):
        (frames,) = generator.generate([stream], [audio])
        yield frames[:left]
        left -= len(frames)
