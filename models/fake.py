"""A generator without weights: frames that carry a readable frame number and the audio level.

It drives the whole server in tests. The top sixteenth of each frame is 16 black or white boxes,
the frame's number in binary (most significant bit left); below it the portrait; the lower third
turns white while that frame's own audio is louder than ``FLASH_RMS``, so that a flash on the
picture and a beep in the sound can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.audio import SAMPLE_RATE
from models.errors import AudioError, PortraitError
from models.io.face_box import FaceBox, part_in_box
from models.options import ModelOptions
from models.registry import ModelCard

COUNTER_BITS = 16
STRIP = 16
"""The counter takes this part of a frame's height."""
FLASH_RMS = 0.05


@dataclass(frozen=True)
class FakeIdentity:
    """A portrait fitted to the frame, uint8 [H, W, 3]."""

    picture: NDArray[np.uint8]


@dataclass
class FakeStream:
    """The number of the next frame, and whether the stream was closed."""

    identity: FakeIdentity
    next_frame: int = 0
    closed: bool = False


class FakeGenerator:
    """Implements ``Generator`` by drawing; exact, instant and deterministic."""

    def __init__(
        self,
        *,
        fps: float = 25.0,
        size: tuple[int, int] = (256, 256),
        chunk_frames: int = 4,
        lookahead_frames: int = 2,
    ) -> None:
        self.fps = fps
        self.size = size
        self.chunk_frames = chunk_frames
        self.lookahead_frames = lookahead_frames
        self.sample_rate = SAMPLE_RATE

    def prepare(self, portrait: NDArray[np.uint8], box: FaceBox | None = None) -> FakeIdentity:
        """Fit any RGB image, or what a box holds of it, to the frame; refuses images under 64
        pixels as a real model would."""
        if portrait.ndim != 3 or portrait.shape[2] != 3 or min(portrait.shape[:2]) < 64:
            raise PortraitError(
                f"expected an RGB image of at least 64x64, got shape {portrait.shape};"
                " send a larger picture",
                code="image_too_small",
            )
        if box is not None:
            portrait = part_in_box(portrait, box)
        height, width = self.size
        rows = np.linspace(0, portrait.shape[0] - 1, height).astype(int)
        columns = np.linspace(0, portrait.shape[1] - 1, width).astype(int)
        return FakeIdentity(np.ascontiguousarray(portrait[rows][:, columns]))

    def open(
        self,
        identity: FakeIdentity,
        *,
        seed: int = 0,
        speech: NDArray[np.float32] | None = None,
    ) -> FakeStream:
        """Start counting at ``seed`` (so that two streams can be told apart in tests)."""
        return FakeStream(identity, next_frame=seed)

    def generate(
        self, streams: Sequence[FakeStream], audio: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.uint8]]:
        """Draw the next F frames of each stream, as described in the module's docstring.

        Raises:
            AudioError: a slice has another length.
            ValueError: a stream is closed.
        """
        per_frame = round(self.sample_rate / self.fps)
        expected = per_frame * (self.chunk_frames + self.lookahead_frames)
        chunks = []
        for stream, samples in zip(streams, audio, strict=True):
            if stream.closed:
                raise ValueError("expected an open stream, got a closed one; open another")
            if samples.shape != (expected,):
                raise AudioError(
                    f"expected {expected} samples, got shape {samples.shape}", code="bad_audio"
                )
            slices = samples[: per_frame * self.chunk_frames].reshape(self.chunk_frames, per_frame)
            levels = np.sqrt((slices.astype(np.float64) ** 2).mean(1))
            chunks.append(np.stack([self._draw(stream, float(level)) for level in levels]))
        return chunks

    def close(self, stream: FakeStream) -> None:
        """Refuse further chunks of the stream."""
        stream.closed = True

    def _draw(self, stream: FakeStream, level: float) -> NDArray[np.uint8]:
        frame = stream.identity.picture.copy()
        height, width = self.size
        for bit in range(COUNTER_BITS):
            on = stream.next_frame >> (COUNTER_BITS - 1 - bit) & 1
            left, right = (width * edge // COUNTER_BITS for edge in (bit, bit + 1))
            frame[: height // STRIP, left:right] = 255 * on
        frame[height * 2 // 3 :] = 255 if level > FLASH_RMS else 16
        stream.next_frame = (stream.next_frame + 1) % 2**COUNTER_BITS
        return frame


def load_generator(card: ModelCard, options: ModelOptions) -> FakeGenerator:
    """The generator; nothing is loaded."""
    return FakeGenerator(size=options.size)


CARD = ModelCard(
    name="fake",
    load="models.fake:load_generator",
    engines=("auto", "eager", "openvino", "compiled"),
    takes=frozenset(
        {"size", "dtype", "devices", "without_reference", "emotion", "liveliness", "frames"}
    ),
)
"""It knows every option and follows the size alone."""


def read_counter(frame: NDArray[np.uint8]) -> int:
    """Decode the frame number that ``FakeGenerator`` drew on RGB [H, W, 3]."""
    height, width = frame.shape[:2]
    row = frame[height // (2 * STRIP)].mean(-1)
    value = 0
    for bit in range(COUNTER_BITS):
        value = value << 1 | int(row[width * (2 * bit + 1) // (2 * COUNTER_BITS)] > 127)
    return value
