"""Whisper's encoder as used by EchoMimic: five hidden states of ten steps around each frame.

The spectrogram is taken of the whole recording at once; segments of 30 s are padded with zeros in
the normalised logarithmic domain, not with silence (published behaviour).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.audio import SAMPLE_RATE
from models.audio.streaming import hidden_states

HOP, WINDOW, BANDS = 160, 400, 80
STRIDE = 2  # spectrogram frames to a step of the encoder: 3000 to the published 1500
ROWS_PER_SECOND = 50
BEFORE, AFTER = 4, 5  # encoder steps around a video frame's own
SHORTEST = WINDOW  # samples; reflection at the ends needs half of it


class WhisperFeatures:
    """Implements ``SpeechFeatures``; one frame: [10 x 5 tokens, channels], time before layer.

    Args:
        network: transformers' ``WhisperEncoder`` with weights; stays in float32.
        fps: video frames per second.

    Attributes:
        segment: spectrogram frames that the encoder takes at once.
    """

    def __init__(self, network: nn.Module, fps: float) -> None:
        config: Any = network.config
        self.network: Any = network.eval()
        self.fps = fps
        self.segment = STRIDE * int(config.max_source_positions)

    @torch.inference_mode()
    def whole(self, speech: NDArray[np.float32], _: int) -> Tensor:
        """Features [L, tokens, channels] of a recording."""
        rows = self.rows(speech)
        return self._cut(rows, num_video_frames(len(rows), self.fps))

    @torch.inference_mode()
    def frames(self, speech: NDArray[np.float32], count: int) -> Tensor:
        """Features of the first ``count`` frames."""
        return self._cut(self.rows(speech), count)

    def _cut(self, rows: Tensor, count: int) -> Tensor:
        return rows[row_indices(torch.arange(count), len(rows), self.fps)].flatten(1, 2)

    def rows(self, speech: NDArray[np.float32]) -> Tensor:
        """Hidden states [T, 5, channels], 50 a second."""
        mel = log_mel(speech)
        states = []
        for begin in range(0, mel.shape[1], self.segment):
            piece = mel[:, begin : begin + self.segment]
            segment = self.states(F.pad(piece, (0, self.segment - piece.shape[1])))
            states.append(segment[: max(1, piece.shape[1] // 2)])
        return torch.cat(states)

    def states(self, mel: Tensor) -> Tensor:
        """One padded segment [80, 3000] -> [1500, 5, channels]: the first layer's input, then
        every layer's output, the last one before the final norm."""
        weight = self.network.conv1.weight
        segment = mel[None].to(weight.device, weight.dtype)
        states = hidden_states(self.network.layers, lambda: self.network(segment))
        return torch.stack([state[0] for state in states], dim=1)


def log_mel(speech: NDArray[np.float32]) -> Tensor:
    """Normalised logarithmic mel spectrogram [80, N // 160] of sound [N]."""
    padded = np.pad(speech, (0, max(0, SHORTEST - speech.size)))
    wave = torch.from_numpy(padded)
    window = torch.hann_window(WINDOW)
    spectrum = torch.stft(wave, WINDOW, HOP, window=window, return_complex=True)
    power = spectrum[:, :-1].abs() ** 2
    mel = (mel_filters() @ power).clamp(min=1e-10).log10()
    return (torch.maximum(mel, mel.max() - 8.0) + 4.0) / 4.0


def mel_filters() -> Tensor:
    """Slaney's triangular filters [80, 201], float32."""
    from transformers.audio_utils import mel_filter_bank

    filters = mel_filter_bank(
        1 + WINDOW // 2, BANDS, 0.0, SAMPLE_RATE / 2, SAMPLE_RATE, norm="slaney", mel_scale="slaney"
    )
    return torch.from_numpy(np.asarray(filters.T, np.float32))


def num_video_frames(rows: int, fps: float) -> int:
    """Video frames of T rows: up to one more than the first whose own row lies beyond T."""
    frame = 0
    while int(frame * ROWS_PER_SECOND / fps) <= rows:
        frame += 1
    return frame + 1


def row_indices(frames: Tensor, rows: int, fps: float) -> Tensor:
    """The ten rows of each video frame [N] -> int64 [N, 10], repeated at both ends."""
    own = (frames.double() * ROWS_PER_SECOND / fps).long()
    around = torch.arange(-BEFORE, AFTER + 1)
    return (own[:, None] + around).clamp(0, rows - 1)
