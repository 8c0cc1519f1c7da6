"""Measures how long a generator computes, without changing what it makes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from models.generator import Generator, Identity, Stream


class Stopwatch:
    """Adds up the seconds of the calls made through it."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.seconds = 0.0

    def add(self, began: float) -> None:
        """Count the time since ``began``, a reading of ``now``."""
        self.seconds += self._clock() - began

    def now(self) -> float:
        """The clock's reading, seconds."""
        return self._clock()


class TimedGenerator(Generic[Identity, Stream]):
    """Implements ``Generator`` by another one; its watch counts the time inside ``generate``."""

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

    def prepare(self, portrait: NDArray[np.uint8]) -> Identity:
        """As the inner generator does; not counted."""
        return self.inner.prepare(portrait)

    def open(
        self, identity: Identity, *, seed: int = 0, speech: NDArray[np.float32] | None = None
    ) -> Stream:
        """As the inner generator does; not counted."""
        return self.inner.open(identity, seed=seed, speech=speech)

    def generate(
        self, streams: Sequence[Stream], audio: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.uint8]]:
        """As the inner generator does; counted."""
        began = self.watch.now()
        chunks = self.inner.generate(streams, audio)
        self.watch.add(began)
        return chunks

    def close(self, stream: Stream) -> None:
        """As the inner generator does; not counted."""
        self.inner.close(stream)
