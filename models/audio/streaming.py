"""Speech features chunk by chunk: of a whole recording as published, or of speech as it comes.

With the recording known, all of it is encoded at once, exactly as published. Live, each chunk is
encoded at the end of a bounded past: the encoders attend to all of their input, so a frame near the
end of what is known sees less of its future than in the published order, and levels are those of
the past alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.audio import SAMPLE_RATE
from models.errors import AudioError

PAST_SECONDS = 4.0


class SpeechFeatures(Protocol):
    """An encoder with its publisher's way of cutting features into video frames.

    Attributes:
        fps: video frames per second.
    """

    fps: float

    def whole(self, speech: NDArray[np.float32], multiple: int) -> Tensor:
        """Features of every frame of a recording, float32 [N] at 16 kHz -> [L, ...].

        L is as published: a whole number of chunks of ``multiple`` frames where chunks are made
        one by one.
        """
        ...

    def frames(self, speech: NDArray[np.float32], count: int) -> Tensor:
        """Features of the first ``count`` frames of a piece of speech -> [count, ...]."""
        ...


class SpeechStream:
    """Features of one session's speech, chunk by chunk.

    Args:
        features: the encoder.
        chunk: F, frames of a chunk.
        speech: the whole recording, float32 [N] at 16 kHz, where it is known.
    """

    def __init__(
        self, features: SpeechFeatures, chunk: int, speech: NDArray[np.float32] | None = None
    ) -> None:
        self.features, self.chunk = features, chunk
        self.known: Tensor | None = None
        if speech is not None:
            self.known = features.whole(check_audio(speech), chunk)
        self._past = np.zeros(0, np.float32)
        self._at = 0

    def close(self) -> None:
        """Release the features of a known recording and the past samples."""
        self.known = None
        self._past = np.zeros(0, np.float32)

    @property
    def length(self) -> int:
        """Frames of the known recording; 0 if it is yet to come."""
        return 0 if self.known is None else len(self.known)

    @torch.inference_mode()
    def next(self, audio: NDArray[np.float32]) -> Tensor:
        """Features of the next chunk [F, ...].

        Args:
            audio: the chunk's samples and what is known of the future, float32.

        Raises:
            AudioError: too short or not finite; the stream is then as it was.
        """
        own = round(self.chunk * SAMPLE_RATE / self.features.fps)
        if audio.ndim != 1 or audio.size < own - 1:
            raise AudioError(
                f"expected at least {own} samples for a chunk of {self.chunk} frames, got"
                f" {audio.shape}; cut the speech by chunk_samples",
                code="bad_audio",
            )
        audio = check_audio(audio)
        first, self._at = self._at, self._at + self.chunk
        if self.known is not None:
            index = torch.arange(first, self._at).clamp(max=len(self.known) - 1)
            return self.known[index]
        sound = np.concatenate([self._past, audio])
        before = round(self._past.size * self.features.fps / SAMPLE_RATE)
        features = self.features.frames(sound, before + self.chunk)[before:]
        keep = round(PAST_SECONDS * self.features.fps)
        past = sound[: self._past.size + own]
        frames = round(past.size * self.features.fps / SAMPLE_RATE)
        begin = round(max(0, frames - keep) * SAMPLE_RATE / self.features.fps)
        self._past = past[begin:]
        return features


def check_audio(speech: NDArray[np.float32]) -> NDArray[np.float32]:
    """Speech that an encoder accepts: finite, not empty, limited to [-1, 1].

    Raises:
        AudioError: it is empty or not finite.
    """
    if speech.ndim != 1 or not speech.size:
        raise AudioError(
            f"expected mono samples [N], got an array {speech.shape}; give some speech",
            code="bad_audio",
        )
    if not np.isfinite(speech).all():
        raise AudioError(
            "expected finite samples, got NaN or infinity; decode the recording again",
            code="bad_audio",
        )
    return np.clip(speech, -1.0, 1.0).astype(np.float32, copy=False)


def clamped_windows(features: Tensor, radius: int) -> Tensor:
    """[L, ...] -> [L, 2 radius + 1, ...]: each frame's neighbours, repeated at both ends."""
    length = len(features)
    offsets = torch.arange(-radius, radius + 1)
    index = (torch.arange(length)[:, None] + offsets).clamp(0, length - 1)
    return features[index]


def hidden_states(layers: Iterable[nn.Module], run: Callable[[], object]) -> list[Tensor]:
    """The input of the first layer, then the output of every layer, each [1, T, channels].

    Libraries differ in what they return (Whisper's last state comes after a norm), so hooks on the
    layers collect the states while ``run`` calls the network.
    """
    layers = list(layers)
    states: list[Tensor] = []

    def keep_input(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        states.append(args[0] if args else kwargs["hidden_states"])

    def keep_output(_: nn.Module, __: Any, output: Any) -> None:
        states.append(output[0] if isinstance(output, tuple) else output)

    handles: list[Any] = [layers[0].register_forward_pre_hook(keep_input, with_kwargs=True)]
    handles += [layer.register_forward_hook(keep_output) for layer in layers]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return states
