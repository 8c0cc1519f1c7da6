"""Measures how long a generator computes, without changing its frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from models.generator import Generator, Identity, Stream


class Stopwatch:
    """Accumulates seconds; ``clock`` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.seconds = 0.0

    def add(self, began: float) -> None:
        """Add the time since ``began``, a value of ``now``."""
        self.seconds += self._clock() - began

    def now(self) -> float:
        """Current time of the clock, seconds."""
        return self._clock()


class TimedGenerator(Generic[Identity, Stream]):
    """Wraps a ``Generator``; ``watch`` accumulates the time inside ``generate``."""

    def __init__(
        self, generator: Generator[Identity, Stream], watch: Stopwatch | None = None
    ) -> None:
        self.inner = generator
        self.watch = watch or Stopwatch()
        self.fps = generator.fps
        self.size = generator.size
        self.chunk_frames = generator.chunk_frames
        self.lookahead_frames = generator.lookahead_frames
        self.sample_rate = generator.sample_rate

    def prepare(
        self, portrait: NDArray[np.uint8], box: tuple[float, float, float, float] | None = None
    ) -> Identity:
        """As the wrapped generator; not counted."""
        return self.inner.prepare(portrait, box)

    def open(
        self, identity: Identity, *, seed: int = 0, speech: NDArray[np.float32] | None = None
    ) -> Stream:
        """As the wrapped generator; not counted."""
        return self.inner.open(identity, seed=seed, speech=speech)

    def generate(
        self, streams: Sequence[Stream], audio: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.uint8]]:
        """As the wrapped generator; counted."""
        began = self.watch.now()
        chunks = self.inner.generate(streams, audio)
        self.watch.add(began)
        return chunks

    def close(self, stream: Stream) -> None:
        """As the inner generator does; not counted."""
        self.inner.close(stream)
