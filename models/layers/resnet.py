"""Convolutional layers: the residual block with scale-shift conditioning, and resampling."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ResnetBlock(nn.Module):
    """GroupNorm, SiLU, conv, twice; the second norm is scaled and shifted by the embedding.

    The second convolution starts at zero, so that a new block is the identity (up to ``shortcut``).
    """

    def __init__(self, in_channels: int, out_channels: int, embedding: int, groups: int = 8) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.embed = nn.Linear(embedding, 2 * out_channels)
        self.norm2 = nn.GroupNorm(groups, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]
        self.embed.weight.data.mul_(0.3)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[N, C_in, H, W] and embedding [N, E] -> [N, C_out, H, W]."""
        scale, shift = self.embed(embedding)[..., None, None].chunk(2, dim=1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.norm2(h) * (1 + scale) + shift
        return self.shortcut(x) + self.conv2(F.silu(h))


class Downsample(nn.Conv2d):
    """Halve height and width with a strided 3x3 convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, stride=2, padding=1)


class Upsample(nn.Module):
    """Double height and width: nearest neighbour, then a 3x3 convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, H, W] -> [N, C_out, 2H, 2W]."""
        return self.conv(F.interpolate(x, scale_factor=2.0))
