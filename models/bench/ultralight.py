"""The network of Ultralight-Digital-Human, with random weights: what mini's speed is compared with.

Written from the published shapes. A U-Net of MobileNetV2's inverted residuals at 160x160 pixels;
speech features (HuBERT's, 16 frames of 32x32) join the smallest map, 10x10.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FACE_SHAPE = (6, 160, 160)
"""A face with its mouth hidden, and another picture of the same person."""
AUDIO_SHAPE = (16, 32, 32)
"""Speech features of one picture."""

_WIDTHS = (32, 64, 128, 256, 512)
_EXPANSION = 2


class InvertedResidual(nn.Module):
    """Widen by a 1x1 convolution, filter each channel, narrow by another (MobileNetV2).

    The input is added where it has the shape of the output and ``skip`` asks for it.
    """

    def __init__(self, before: int, after: int, stride: int = 1, *, skip: bool = False) -> None:
        super().__init__()
        wide = _EXPANSION * before
        self.skip = skip
        self.layers = nn.Sequential(
            *_normed(nn.Conv2d(before, wide, 1, bias=False)),
            nn.ReLU(inplace=True),
            *_normed(nn.Conv2d(wide, wide, 3, stride, padding=1, groups=wide, bias=False)),
            nn.ReLU(inplace=True),
            *_normed(nn.Conv2d(wide, after, 1, bias=False)),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.skip else y


class UltralightUNet(nn.Module):
    """The wide variant, which its repository trains by default: 12.2 M parameters, 6.33 GFLOP.

    One picture for each row of the batch.
    """

    def __init__(self) -> None:
        super().__init__()
        w0, w1, w2, w3, w4 = _WIDTHS
        self.audio_encoder = nn.Sequential(
            InvertedResidual(AUDIO_SHAPE[0], w1),
            InvertedResidual(w1, w2),
            *_normed(nn.Conv2d(w2, w3, 3, stride=2, padding=1)),
            nn.ReLU(inplace=True),
            InvertedResidual(w3, w3, skip=True),
            # a border of 3 makes 16x16 the 10x10 of the face
            *_normed(nn.Conv2d(w3, w4, 3, stride=2, padding=3)),
            nn.ReLU(inplace=True),
            InvertedResidual(w4, w4, skip=True),
            InvertedResidual(w4, w4, skip=True),
        )
        self.stem = InvertedResidual(FACE_SHAPE[0], w0)
        self.down = nn.ModuleList(
            _pair(before, after, stride=2)
            for before, after in zip(_WIDTHS[:-1], _WIDTHS[1:], strict=True)
        )
        self.join = nn.Sequential(_pair(2 * w4, w4), _pair(w4, w3))
        # each takes as many channels from the stage before as from the map of that size
        self.up = nn.ModuleList(
            [_pair(2 * w3, w2), _pair(2 * w2, w1), _pair(2 * w1, w0), _pair(2 * w0, w0)]
        )
        self.head = nn.Conv2d(w0, 3, 1)

    def forward(self, audio: Tensor, face: Tensor) -> Tensor:
        """Features [N, 16, 32, 32], faces [N, 6, 160, 160] -> pictures [N, 3, 160, 160], 0 to 1."""
        maps = [self.stem(face)]
        for stage in self.down:
            maps.append(stage(maps[-1]))
        x = self.join(torch.cat([maps.pop(), self.audio_encoder(audio)], dim=1))
        for stage in self.up:
            larger = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = stage(torch.cat([larger, maps.pop()], dim=1))
        return torch.sigmoid(self.head(x))


def _pair(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        InvertedResidual(before, after, stride), InvertedResidual(after, after, skip=True)
    )


def _normed(conv: nn.Conv2d) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    return conv, nn.BatchNorm2d(conv.out_channels)
