"""Convolutional parts of a Stable Diffusion UNet: residual block, resampling, group norm."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class FrameNorm(nn.GroupNorm):
    """Group norm of folded frames, [N, C, H, W], with statistics per frame.

    ``frames`` above 1 takes statistics over so many consecutive rows together, as video networks
    built with ``use_inflated_groupnorm=false`` do.
    """

    frames: int = 1

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> the same, normalised."""
        if self.frames == 1:
            return super().forward(x)
        video = x.view(-1, self.frames, *x.shape[1:]).transpose(1, 2)
        normed: Tensor = super().forward(video)
        return normed.transpose(1, 2).flatten(0, 1)


class Resnet(nn.Module):
    """GroupNorm, SiLU, conv, plus time; GroupNorm, SiLU, conv; plus the input."""

    def __init__(
        self, inputs: int, outputs: int, embedding: int, groups: int = 32, eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.norm1 = FrameNorm(groups, inputs, eps=eps)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time_emb_proj = nn.Linear(embedding, outputs)
        self.norm2 = FrameNorm(groups, outputs, eps=eps)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[N, C_in, H, W] and activated time embedding [N, E] -> [N, C_out, H, W]."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.time_emb_proj(embedding)[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        kept = x if self.conv_shortcut is None else self.conv_shortcut(x)
        out: Tensor = kept + h
        return out


class Downsample(nn.Module):
    """Halve height and width with a strided 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, ceil(H / 2), ceil(W / 2)]."""
        out: Tensor = self.conv(x)
        return out


class Upsample(nn.Module):
    """Nearest neighbour to the size of the next skip, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """[N, C, H, W] -> [N, C, *size]."""
        out: Tensor = self.conv(F.interpolate(x, size=size, mode="nearest"))
        return out
