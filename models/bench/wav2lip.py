"""Wav2Lip's generator, with random weights: what mini's speed is compared with.

Written from the paper (arXiv 2008.10010) and the published shapes. A face encoder halves 96x96
pixels down to one, an audio encoder reduces 0.2 s of mel spectrogram to one vector, and a decoder
enlarges that vector, concatenated with the face's map of each size, to 96x96 pixels again.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

FACE_SHAPE = (6, 96, 96)
"""A face with its lower half hidden, and another picture of the same person."""
MEL_SHAPE = (1, 80, 16)
"""Bands and time steps of the spectrogram."""


class _Stage(NamedTuple):
    """One convolution that changes size and channels, then residual ones that keep both."""

    channels: int
    residuals: int
    stride: tuple[int, int] = (2, 2)


_EMBEDDING = 512
_STEM = 16
_FACE = (_Stage(32, 2), _Stage(64, 3), _Stage(128, 2), _Stage(256, 2), _Stage(_EMBEDDING, 1))
_AUDIO = (
    _Stage(32, 2, (1, 1)),
    _Stage(64, 2, (3, 1)),
    _Stage(128, 2, (3, 3)),
    _Stage(256, 1, (3, 2)),
)
_DECODER = (
    _Stage(512, 1, (1, 1)),
    _Stage(512, 2),
    _Stage(384, 2),
    _Stage(256, 2),
    _Stage(128, 2),
    _Stage(64, 2),
)
_HEAD = 32


class Wav2LipGenerator(nn.Module):
    """36.3 M parameters, 7.93 GFLOP a picture, one picture for each row of the batch.

    The operations are counted as ``models/bench/flops.py`` says; a transposed convolution has them
    for each pixel that it reads. Counted for each pixel that it writes, they would be 12.4.
    """

    def __init__(self) -> None:
        super().__init__()
        self.face_stages = nn.ModuleList([_unit(nn.Conv2d(FACE_SHAPE[0], _STEM, 7, padding=3))])
        skips = [_STEM]
        for stage in _FACE:
            self.face_stages.append(_encode(skips[-1], stage))
            skips.append(stage.channels)
        self.face_stages.append(_to_vector(_EMBEDDING))
        skips.append(_EMBEDDING)
        before, audio = MEL_SHAPE[0], nn.Sequential()
        for stage in _AUDIO:
            audio.append(_encode(before, stage))
            before = stage.channels
        self.audio_encoder = audio.append(_to_vector(before))
        self.decoder_stages = nn.ModuleList([_unit(nn.Conv2d(_EMBEDDING, _EMBEDDING, 1))])
        before = _EMBEDDING
        for stage in _DECODER:
            self.decoder_stages.append(_decode(before + skips.pop(), stage))
            before = stage.channels
        self.head = nn.Sequential(
            _unit(nn.Conv2d(before + skips.pop(), _HEAD, 3, padding=1)),
            nn.Conv2d(_HEAD, 3, 1),
            nn.Sigmoid(),
        )

    def forward(self, mel: Tensor, face: Tensor) -> Tensor:
        """Spectrograms [N, 1, 80, 16], faces [N, 6, 96, 96] -> pictures [N, 3, 96, 96], 0 to 1."""
        maps = [face]
        for stage in self.face_stages:
            maps.append(stage(maps[-1]))
        x = self.audio_encoder(mel)
        for stage in self.decoder_stages:
            x = torch.cat([stage(x), maps.pop()], dim=1)
        picture: Tensor = self.head(x)
        return picture


class _Residual(nn.Module):
    """A 3x3 convolution whose input is added before the activation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x)) + x)


def _unit(conv: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU(inplace=True))


def _encode(before: int, stage: _Stage) -> nn.Sequential:
    conv = nn.Conv2d(before, stage.channels, 3, stage.stride, padding=1)
    return nn.Sequential(_unit(conv), *_residuals(stage))


def _to_vector(before: int) -> nn.Sequential:
    """The last map, 3x3 pixels, to one."""
    return nn.Sequential(
        _unit(nn.Conv2d(before, _EMBEDDING, 3)), _unit(nn.Conv2d(_EMBEDDING, _EMBEDDING, 1))
    )


def _decode(before: int, stage: _Stage) -> nn.Sequential:
    """One pixel becomes 3x3 where the stride is 1; else the side is doubled."""
    grow = 1 if stage.stride == (2, 2) else 0
    conv = nn.ConvTranspose2d(
        before, stage.channels, 3, stage.stride, padding=grow, output_padding=grow
    )
    return nn.Sequential(_unit(conv), *_residuals(stage))


def _residuals(stage: _Stage) -> list[_Residual]:
    return [_Residual(stage.channels) for _ in range(stage.residuals)]
