"""The façade that the server sees: prepare a portrait, open a stream, generate chunks.

Knows nothing about sockets, encoders or clocks. ``FakeGenerator`` (``models/fake.py``) and the
diffusion backbones (``models/pipeline.py``) implement it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class Generator(Protocol):
    """One warm model that turns speech into frames for any number of streams.

    Attributes:
        fps: video frames per second of media time.
        size: (height, width) of every frame, pixels.
        chunk_frames: F, frames made by one call of ``generate`` for each stream.
        lookahead_frames: frames of future audio that each call needs beyond its chunk.
        sample_rate: of the audio that ``generate`` takes, Hz.
    """

    fps: float
    size: tuple[int, int]
    chunk_frames: int
    lookahead_frames: int
    sample_rate: int

    def prepare(self, portrait: NDArray[np.uint8]) -> Any:
        """Compute what is static for one portrait, RGB uint8 [H, W, 3] of any size.

        It may run in another thread beside ``open`` and ``generate``, so that streams go on
        meanwhile; those two are called by one thread alone.

        Raises:
            PortraitError: the image cannot be used; ``code`` says why.
        """
        ...

    def open(
        self, identity: Any, *, seed: int = 0, speech: NDArray[np.float32] | None = None
    ) -> Any:
        """Start a stream (the state carried from chunk to chunk) for a prepared identity.

        Args:
            seed: names the motion.
            speech: the whole recording, where it is known in advance: float32 [N] mono at
                ``sample_rate``. A model may then hear it at once, as its publisher does; the
                chunks are still given to ``generate``. None while the speech is yet to come.
        """
        ...

    def generate(
        self, streams: Sequence[Any], audio: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.uint8]]:
        """Make the next chunk of every stream in one batch.

        Args:
            streams: S streams of this generator, each at most once.
            audio: for each, mono float32 in [-1, 1] of exactly
                ``chunk_samples(generator)`` samples: the chunk's own audio, then its look-ahead
                (zeros where the future is not known).

        Returns:
            For each stream RGB uint8 [F, H, W, 3].

        Raises:
            AudioError: a slice has another length or is not finite.
        """
        ...


def frame_samples(generator: Generator) -> int:
    """Audio samples that belong to one video frame; the nearest number where it is not whole."""
    return round(generator.sample_rate / generator.fps)


def chunk_samples(generator: Generator) -> int:
    """Audio samples that one ``generate`` call takes: the chunk and its look-ahead."""
    return frame_samples(generator) * (generator.chunk_frames + generator.lookahead_frames)
