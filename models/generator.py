"""The generator protocol that the server drives, and a whole recording run through it.

A generator prepares a portrait, opens streams for it and generates their frames chunk by chunk. It
knows nothing about sockets, encoders or clocks. ``FakeGenerator`` (``models/fake.py``) and
``DiffusionGenerator`` (``models/pipeline.py``) implement it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Identity = TypeVar("Identity")
"""What a generator computes once for a portrait."""
Stream = TypeVar("Stream")
"""What a generator carries from chunk to chunk of one session."""


@runtime_checkable
class Listener(Protocol):
    """What a stream of a model that reacts to its caller also is; others need not be."""

    def listen(self, caller_speaks: bool) -> None:
        """Take whether the caller speaks during the chunks that follow, until the next call."""
        ...


STAGES = ("features", "denoise", "decode")
"""What a call of ``generate`` does in turn: audio features and conditioning; latents; pictures."""


@runtime_checkable
class Staged(Protocol):
    """A generator that says when each stage of ``generate`` has ended; others need not.

    It reads no clock for that: whoever sets ``on_stage`` may. On a device that runs behind the
    program a stage ends when its work was handed over, and the last one waits for all. Where frames
    are handed out one by one, ``decode`` ends with each.

    Attributes:
        on_stage: called with each of ``STAGES`` in turn.
    """

    on_stage: Callable[[str], object]


@runtime_checkable
class Abandonable(Protocol):
    """A generator whose call of ``generate`` can be given up; others need not be.

    Attributes:
        on_step: called again and again during ``generate``. What it raises ends the call: the
            streams go on behind the chunk, which nobody gets.
    """

    on_step: Callable[[], object]


@runtime_checkable
class Threaded(Protocol):
    """A generator that may run on another number of CPU threads from call to call.

    Attributes:
        most_threads: that make it faster; 1 where their number was chosen by who loaded it.
    """

    most_threads: int

    def use_threads(self, count: int) -> None:
        """Run the calls of ``generate`` that this thread makes next on ``count`` threads."""
        ...


@runtime_checkable
class FrameByFrame(Protocol):
    """A generator that hands out each frame of a chunk as soon as it is drawn; others need not."""

    def generate_frames(
        self, streams: Sequence[Any], audio: Sequence[NDArray[np.float32]]
    ) -> list[Iterator[NDArray[np.uint8]]]:
        """As ``Generator.generate``, but for each stream its F frames RGB uint8 [H, W, 3].

        They are drawn as they are asked for, all of them before the next call.
        """
        ...


class ChunkFormat(Protocol):
    """How a generator divides media time.

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


@runtime_checkable
class Generator(ChunkFormat, Protocol[Identity, Stream]):
    """One warm model that turns speech into frames for any number of streams."""

    def prepare(
        self, portrait: NDArray[np.uint8], box: tuple[float, float, float, float] | None = None
    ) -> Identity:
        """Compute what is static for one portrait, RGB uint8 [H, W, 3] of any size.

        ``box`` is around the face to take of several: left, top, width, height in pixels, or in
        shares of the picture if none is over 1.

        It may run in another thread beside the other methods, so that streams go on meanwhile;
        those are called by one thread alone.

        Raises:
            PortraitError: the image cannot be used; ``code`` says why.
        """
        ...

    def open(
        self, identity: Identity, *, seed: int = 0, speech: NDArray[np.float32] | None = None
    ) -> Stream:
        """Start a stream for a prepared identity.

        Args:
            seed: of the motion and the noise.
            speech: the whole recording, where it is known in advance: float32 [N] mono at
                ``sample_rate``. A model may then encode all of it at once, as its publisher does;
                the chunks are still given to ``generate``. None while the speech is yet to come.
        """
        ...

    def generate(
        self, streams: Sequence[Stream], audio: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.uint8]]:
        """Generate the next chunk of every stream in one batch.

        Args:
            streams: S open streams of this generator, each at most once.
            audio: for each, mono float32 in [-1, 1] of exactly
                ``chunk_samples(generator)`` samples: the chunk's own audio, then its look-ahead
                (zeros where the future is not known).

        Returns:
            For each stream RGB uint8 [F, H, W, 3].

        Raises:
            AudioError: a slice has another length or is not finite.
        """
        ...

    def close(self, stream: Stream) -> None:
        """Release what a stream holds; it must not be used afterwards. Closing twice is allowed."""
        ...


AnyGenerator: TypeAlias = Generator[Any, Any]
"""A generator chosen at run time; its identities and streams are only handed back to it, but a
stream that is a ``Listener`` is told of its caller."""


def frame_samples(generator: ChunkFormat) -> int:
    """Audio samples of one video frame, rounded where the quotient is not whole."""
    return round(generator.sample_rate / generator.fps)


def chunk_samples(generator: ChunkFormat) -> int:
    """Audio samples that one ``generate`` call takes: the chunk and its look-ahead."""
    return frame_samples(generator) * (generator.chunk_frames + generator.lookahead_frames)


def frame_count(generator: ChunkFormat, samples: int) -> int:
    """Frames that cover ``samples`` samples at the generator's rate, the last one partly silent."""
    return math.ceil(samples * _rate(generator) / generator.sample_rate)


def frame_start(generator: ChunkFormat, frame: int) -> int:
    """First sample of a frame. At 24 or 30 frames a second not all frames have the same length."""
    return round(frame * generator.sample_rate / _rate(generator))


def _rate(generator: ChunkFormat) -> Fraction:
    """Frames per second, exactly."""
    return Fraction(generator.fps).limit_denominator(1001)


def audio_chunks(
    generator: ChunkFormat, speech: NDArray[np.float32]
) -> Iterator[NDArray[np.float32]]:
    """The audio of each ``generate`` call: a chunk and its look-ahead; zeros after the end.

    Args:
        speech: float32 [N] mono at the generator's sample rate.

    Yields:
        float32 [``chunk_samples(generator)``] from the start of the chunk's first frame, until
        every frame of the speech is covered.
    """
    length = chunk_samples(generator)
    for frame in range(0, frame_count(generator, speech.size), generator.chunk_frames):
        begin = frame_start(generator, frame)
        chunk = speech[begin : begin + length].astype(np.float32, copy=False)
        yield np.pad(chunk, (0, length - chunk.size))


def generate_all(
    generator: Generator[Identity, Stream], stream: Stream, speech: NDArray[np.float32]
) -> Iterator[NDArray[np.uint8]]:
    """Generate the frames of a whole recording chunk by chunk, exactly as a session would.

    Yields:
        RGB uint8 [F, H, W, 3]; the last chunk holds only the frames that the speech reaches.
    """
    remaining = frame_count(generator, speech.size)
    for audio in audio_chunks(generator, speech):
        (frames,) = generator.generate([stream], [audio])
        yield frames[:remaining]
        remaining -= len(frames)
