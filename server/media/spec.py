"""What a warm worker says about its media: frame rate, size, chunk length, audio rates."""

from __future__ import annotations

from dataclasses import dataclass

from models.generator import ChunkFormat
from server.media.av_frame import OUTPUT_RATE


@dataclass(frozen=True, slots=True)
class MediaSpec:
    """Facts that both sides of the worker's pipe cut media by.

    Attributes:
        fps: frames per second.
        size: (height, width), pixels.
        chunk_frames: F, new frames of one chunk.
        lookahead_frames: L, frames of future audio that a chunk's features also cover.
        sample_rate: of the features, Hz.
    """

    fps: float
    size: tuple[int, int]
    chunk_frames: int
    lookahead_frames: int
    sample_rate: int

    def __post_init__(self) -> None:
        """Refuse a frame rate whose frames do not hold whole samples of what is played."""
        if self.sound_samples * self.fps != OUTPUT_RATE:
            raise ValueError(
                f"expected a frame to hold a whole number of samples at {OUTPUT_RATE} Hz, got"
                f" {self.fps:g} frames per second; use a generator of 24, 25, 30 or 50"
            )

    @classmethod
    def of(cls, generator: ChunkFormat) -> MediaSpec:
        """The spec of a generator."""
        return cls(
            fps=generator.fps,
            size=generator.size,
            chunk_frames=generator.chunk_frames,
            lookahead_frames=generator.lookahead_frames,
            sample_rate=generator.sample_rate,
        )

    @property
    def frame_s(self) -> float:
        """Seconds that one frame is shown."""
        return 1 / self.fps

    @property
    def feature_samples(self) -> int:
        """Samples of one frame at ``sample_rate``, the nearest number where it is not whole."""
        return round(self.sample_rate / self.fps)

    @property
    def feature_rate(self) -> int:
        """Hz at which a frame lasts ``feature_samples``: ``sample_rate``, or within 0.1 % of it.

        Speech is resampled to it, so that sound and frames never drift apart.
        """
        return round(self.feature_samples * self.fps)

    @property
    def sound_samples(self) -> int:
        """Samples of one frame at ``OUTPUT_RATE``."""
        return round(OUTPUT_RATE / self.fps)

    @property
    def needed_frames(self) -> int:
        """F + L: frames of audio that a chunk wants to know."""
        return self.chunk_frames + self.lookahead_frames
