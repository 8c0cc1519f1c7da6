"""Convolutional layers: the residual block with scale-shift conditioning, and resampling."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResnetBlock(nn.Module):
    """GroupNorm, SiLU, conv, twice; the second norm is scaled and shifted by the embedding.

    The second convolution starts at zero, so that a new block is the identity (up to ``shortcut``).
    """

    def __init__(self, in_channels: int, out_channels: int, embedding: int, groups: int = 8):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.embed = nn.Linear(embedding, 2 * out_channels)
        self.norm2 = nn.GroupNorm(groups, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)
        nn.init.zeros_(self.conv2.weight)
        if self.conv2.bias is not None:
            nn.init.zeros_(self.conv2.bias)
        self.embed.weight.data.mul_(0.3)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[N, C_in, H, W] and embedding [N, E] -> [N, C_out, H, W]."""
        scale, shift = self.embed(embedding)[..., None].chunk(2, dim=1)
        h = self.conv1(F.silu(group_norm(self.norm1, x)))
        # cells flattened: OpenVINO 2026.4 crashes on the same with height and width, in float32
        flat = group_norm(self.norm2, h).flatten(2) * (1 + scale) + shift
        h = flat.view(h.shape)
        out: Tensor = self.shortcut(x) + self.conv2(F.silu(h))
        return out


def group_norm(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    """``norm(x)``, in float32 where torch's bfloat16 kernel works number by number.

    It does on channels-last maps of fewer than 1024 cells with fewer than 16 channels to a group:
    float32 is four times faster there, conversions included.
    """
    thin = x.shape[1] < 16 * norm.num_groups and x.shape[2:].numel() < 1024
    if thin and norm.weight.dtype == torch.bfloat16:
        weight, bias = norm.weight.float(), norm.bias.float()
        return F.group_norm(x.float(), norm.num_groups, weight, bias, norm.eps).to(x.dtype)
    out: Tensor = norm(x)
    return out


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
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2.0))
        return out
