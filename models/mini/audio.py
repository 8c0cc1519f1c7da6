"""Speech as ``mini`` takes it: windows of samples, and their features by Moonshine's tiny encoder.

A chunk of F frames that starts at frame s sees the audio of frames [s - PAST, s + F + LOOKAHEAD):

    |<-- PAST_FRAMES = 25 -->|<- F = 4 ->|<- LOOKAHEAD_FRAMES = 2 ->|      640 samples a frame

Audio before the stream's start and after its end is zeros. Levels are set first (``level.py``).
The offline path and the streaming path give the same windows bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from models.audio.level import LevelControl, level_audio
from models.errors import AudioError
from models.weights.bundled import WEIGHTS, read_pinned

ENCODER_PATH = WEIGHTS / "moonshine" / "encoder.ort"
ENCODER_SHA256 = "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221"
HOP = 384
"""Samples between two features: 16000 / 384 = 41.67 features a second."""
FIRST_CENTRE = 447
"""Middle of the samples that the convolutions show to the first feature (it sees 0..894)."""
MIN_SAMPLES = 895
"""Samples that make one feature."""


class AudioEncoder:
    """A frozen speech encoder on ONNX Runtime; deterministic, holds no stream state."""

    def __init__(self, path: Path = ENCODER_PATH, threads: int = 1) -> None:
        """Load and check the weights.

        Raises:
            WeightsError: the file is missing or is not the one that Livehead pins.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(
            read_pinned(path, ENCODER_SHA256), options, providers=["CPUExecutionProvider"]
        )

    def features(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Encode one window.

        Args:
            window: float32 [N] mono at 16 kHz in [-1, 1], N >= ``MIN_SAMPLES``.

        Returns:
            float32 [M, 288]; feature m stands for the sample ``FIRST_CENTRE + m * HOP``.

        Raises:
            AudioError: the window has another shape or is too short.
        """
        if window.ndim != 1 or window.size < MIN_SAMPLES:
            raise AudioError(
                f"expected mono samples [N] with N >= {MIN_SAMPLES}, got shape {window.shape};"
                " pad the window with zeros",
                code="bad_audio",
            )
        values = window.astype(np.float32, copy=False)[None]
        mask = np.ones(values.shape, np.int64)
        outputs = self._session.run(None, {"input_values": values, "attention_mask": mask})
        features: NDArray[np.float32] = np.asarray(outputs[0])[0]
        return features


FRAME_SAMPLES = 640
"""16 kHz audio that belongs to one frame at 25 frames a second."""
CHUNK_FRAMES = 4
PAST_FRAMES = 25
LOOKAHEAD_FRAMES = 2
CONTEXT = 3
"""Features are gathered at -CONTEXT..+CONTEXT frames around each frame's middle."""


def window_samples(chunk_frames: int = CHUNK_FRAMES) -> int:
    """Samples in the window of a chunk of ``chunk_frames`` frames."""
    return (PAST_FRAMES + chunk_frames + LOOKAHEAD_FRAMES) * FRAME_SAMPLES


def chunk_features(
    encoder: AudioEncoder, window: NDArray[np.float32], frames: int = CHUNK_FRAMES
) -> NDArray[np.float32]:
    """Features around each frame of a chunk.

    Args:
        window: float32 [(PAST + F + LOOKAHEAD) * 640], as cut by this module.
        frames: F.

    Returns:
        float32 [F, 2 * CONTEXT + 1, 288], interpolated linearly between the encoder's features;
        what lies beyond the window's last feature repeats it.

    Raises:
        AudioError: the window has another length.
    """
    if window.shape != (window_samples(frames),):
        raise AudioError(
            f"expected a window of {window_samples(frames)} samples for {frames} frames,"
            f" got shape {window.shape}; cut it with windows_of or StreamingWindow",
            code="bad_audio",
        )
    features = encoder.features(window)
    middles = PAST_FRAMES + np.arange(frames)[:, None] + 0.5
    times = (middles + np.arange(-CONTEXT, CONTEXT + 1)) * FRAME_SAMPLES
    positions = np.clip((times - FIRST_CENTRE) / HOP, 0, len(features) - 1)
    before = np.floor(positions).astype(np.intp)
    after = np.minimum(before + 1, len(features) - 1)
    weight = (positions - before).astype(np.float32)[..., None]
    gathered: NDArray[np.float32] = features[before] * (1 - weight) + features[after] * weight
    return gathered


def windows_of(
    audio: NDArray[np.float32],
    chunk_frames: int = CHUNK_FRAMES,
    start_frame: int = 0,
    *,
    levelled: bool = False,
) -> Iterator[NDArray[np.float32]]:
    """Every window of a recording, chunk after chunk.

    Args:
        audio: float32 [N] mono at 16 kHz; the last frame is completed with zeros.
        chunk_frames: F, frames from one window to the next.
        start_frame: first frame of the first chunk.
        levelled: the audio went through ``level_audio`` already (to cut one recording often).

    Yields:
        float32 [(PAST + F + LOOKAHEAD) * 640], until the chunk that holds the last sample.

    Raises:
        AudioError: the audio is not mono or not finite.
    """
    frames = -(-audio.size // FRAME_SAMPLES)
    whole = PAST_FRAMES + frames + chunk_frames + LOOKAHEAD_FRAMES
    padded: NDArray[np.float32] = np.zeros(whole * FRAME_SAMPLES, np.float32)
    own = slice(PAST_FRAMES * FRAME_SAMPLES, PAST_FRAMES * FRAME_SAMPLES + audio.size)
    padded[own] = audio if levelled else level_audio(audio)
    for first in range(start_frame, frames, chunk_frames):
        begin = first * FRAME_SAMPLES
        yield padded[begin : begin + window_samples(chunk_frames)].copy()


class StreamingWindow:
    """Keeps the past of one stream and cuts the window of each next chunk."""

    def __init__(self, chunk_frames: int = CHUNK_FRAMES) -> None:
        self.chunk_frames = chunk_frames
        self._level = LevelControl()
        self._past = np.zeros(PAST_FRAMES * FRAME_SAMPLES, np.float32)

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Advance by one chunk.

        Args:
            samples: float32 [(F + LOOKAHEAD) * 640]: the chunk's own audio, then its look-ahead
                (zeros where the future is unknown), which comes again in the next call.

        Returns:
            The window, float32 [(PAST + F + LOOKAHEAD) * 640].

        Raises:
            AudioError: another length, or not finite; the stream is then unchanged.
        """
        own = self.chunk_frames * FRAME_SAMPLES
        expected = own + LOOKAHEAD_FRAMES * FRAME_SAMPLES
        if samples.shape != (expected,) or not np.isfinite(samples).all():
            raise AudioError(
                f"expected {expected} finite samples, got shape {samples.shape};"
                " send the chunk's audio and its look-ahead (zeros where unknown)",
                code="bad_audio",
            )
        present = self._level.process(samples[:own])
        future = self._level.peek(samples[own:])
        window = np.concatenate([self._past, present, future])
        self._past = window[own : own + self._past.size].copy()
        return window
