"""Brings callers' sound to the rate the server works at, as a stream without clicks or pauses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from models.audio.downmix import Downmix
from models.errors import AudioError

MIN_RATE = 8_000
MAX_RATE = 96_000
MAX_CHANNELS = 2


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """How interleaved int16 sound is sampled: ``rate`` in Hz, ``channels`` 1 or 2.

    Raises:
        AudioError: a rate outside 8000..96000 or other than 1 or 2 channels (``bad_audio``).
    """

    rate: int
    channels: int = 1

    def __post_init__(self) -> None:
        _check_rate("input", self.rate)
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise AudioError(
                f"expected 1 or {MAX_CHANNELS} channels, got {self.channels}; mix down first",
                code="bad_audio",
            )


class MonoInput:
    """Interleaved int16 in, mono float32 in [-1, 1] out, at the same rate and at once."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self._channels = audio_format.channels
        self._mix = Downmix(("FL", "FR")[: audio_format.channels], audio_format.rate)

    def push(self, pcm: NDArray[np.int16]) -> NDArray[np.float32]:
        """Mix int16 [N * channels] to float32 [N].

        Raises:
            AudioError: another type or shape, or half a sample frame (``bad_audio``).
        """
        if pcm.ndim != 1 or pcm.dtype != np.int16 or pcm.size % self._channels:
            raise AudioError(
                f"expected int16 samples, one dimension, a multiple of {self._channels};"
                f" got {pcm.dtype} {pcm.shape}",
                code="bad_audio",
            )
        channels = pcm.reshape(-1, self._channels).astype(np.float32) / np.float32(32768)
        mono: NDArray[np.float32] = np.clip(self._mix.push(channels), -1, 1)
        return mono


class StreamResampler:
    """Mono float32 at any rate in, and at another rate out.

    The filter is FFmpeg's windowed sinc: it holds back about one millisecond (a filter with
    frequency-domain stages holds 20 to 100), and cutting the input elsewhere changes nothing.
    """

    def __init__(self, in_rate: int, out_rate: int) -> None:
        """Rates in Hz.

        Raises:
            AudioError: a rate outside 8000..96000 (``bad_audio``).
        """
        _check_rate("input", in_rate)
        _check_rate("output", out_rate)
        self.in_rate = in_rate
        self.out_rate = out_rate
        self._filter: Any = None

    def push(self, mono: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take float32 [N]; give float32 [M], what of the output is ready."""
        if self.in_rate == self.out_rate or not mono.size:
            return mono
        if self._filter is None:
            self._filter = av.AudioResampler(format="flt", layout="mono", rate=self.out_rate)
        frame = av.AudioFrame.from_ndarray(mono.reshape(1, -1), format="flt", layout="mono")
        frame.sample_rate = self.in_rate
        return _join(self._filter.resample(frame))

    def flush(self) -> NDArray[np.float32]:
        """Give what the filter still holds; the next ``push`` begins a new stream."""
        if self._filter is None:
            return np.zeros(0, np.float32)
        held = _join(self._filter.resample(None))
        self._filter = None
        return held


def _check_rate(name: str, rate: int) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(
            f"expected an {name} rate of {MIN_RATE}..{MAX_RATE} Hz, got {rate};"
            " announce the rate that the samples really have",
            code="bad_audio",
        )


def _join(frames: list[Any]) -> NDArray[np.float32]:
    pieces = [frame.to_ndarray().reshape(-1) for frame in frames]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
