"""wav2vec2 as used by Hallo and MEMO: features interpolated to video frames inside the network.

Between the convolutions (about 50 a second) and the transformer, features are interpolated
linearly to one per video frame; each frame gets the outputs of all transformer layers for itself
and for its two neighbours on both sides.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.audio import SAMPLE_RATE
from models.audio.streaming import clamped_windows, hidden_states

RADIUS = 2
SHORTEST = 400
"""Samples that the convolutions need for one feature."""


class Wav2VecFeatures:
    """Implements ``SpeechFeatures``; a frame's features are [window, layers, channels].

    Args:
        network: transformers' ``Wav2Vec2Model`` with weights; stays in float32, as published.
        fps: video frames per second.
    """

    def __init__(self, network: nn.Module, fps: float) -> None:
        self.network: Any = network.eval()
        self.fps = fps

    @torch.inference_mode()
    def whole(self, speech: NDArray[np.float32], multiple: int) -> Tensor:
        """Features [L, window, layers, channels] of a recording, in one pass.

        The sound is normalised, then zeros are appended for the frames that are missing to a
        multiple of ``multiple``, each ``16000 // fps`` samples long (published behaviour).
        """
        frames = math.ceil(speech.size / SAMPLE_RATE * self.fps)
        missing = -frames % multiple
        silence = np.zeros(missing * int(SAMPLE_RATE // self.fps), np.float32)
        sound = np.concatenate([zero_mean_unit_variance(speech), silence])
        return clamped_windows(self.layers(sound, frames + missing), RADIUS)

    @torch.inference_mode()
    def frames(self, speech: NDArray[np.float32], count: int) -> Tensor:
        """Features of the first ``count`` frames; frames beyond the sound repeat the last."""
        available = max(1, math.ceil(speech.size / SAMPLE_RATE * self.fps))
        features = self.layers(zero_mean_unit_variance(speech), available)
        index = torch.arange(count).clamp(max=available - 1)
        return clamped_windows(features, RADIUS)[index]

    def layers(self, sound: NDArray[np.float32], count: int) -> Tensor:
        """Outputs of all layers [count, layers, channels] for normalised sound [N]."""
        states = self.states(sound, count)
        return torch.stack([state[0] for state in states[1:]], dim=1)

    def states(self, sound: NDArray[np.float32], count: int) -> list[Tensor]:
        """Hidden states [1, count, channels]: the embedding, then every layer's output."""
        weight = self.network.feature_projection.projection.weight
        padded = np.pad(sound, (0, max(0, SHORTEST - sound.size)))
        samples = torch.from_numpy(padded)[None].to(weight.device, weight.dtype)
        coarse = self.network.feature_extractor(samples)
        stretched = F.interpolate(coarse, size=count, mode="linear", align_corners=True)
        hidden, _ = self.network.feature_projection(stretched.transpose(1, 2))
        encoder = self.network.encoder
        return hidden_states(encoder.layers, lambda: encoder(hidden))


def zero_mean_unit_variance(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Zero mean and unit variance over the whole of it; silence stays silent."""
    out: NDArray[np.float32] = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
    return out.astype(np.float32)
