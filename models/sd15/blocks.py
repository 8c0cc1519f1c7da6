"""Blocks of a Stable Diffusion UNet besides attention: residual, resampling, norm, time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.nn.embedding import timestep_embedding


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
    """Residual block: GroupNorm, SiLU, conv, plus time; GroupNorm, SiLU, conv; plus the input."""

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
        shortcut = x if self.conv_shortcut is None else self.conv_shortcut(x)
        out: Tensor = shortcut + h
        return out


class Downsample2D(nn.Module):
    """Halve height and width with a strided 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, ceil(H / 2), ceil(W / 2)]."""
        out: Tensor = self.conv(x)
        return out


class Upsample2D(nn.Module):
    """Nearest neighbour to the size of the next skip, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """[N, C, H, W] -> [N, C, *size]."""
        out: Tensor = self.conv(F.interpolate(x, size=size, mode="nearest"))
        return out


class TimeEmbedding(nn.Module):
    """Sines and cosines of the time (cosines first), then two linear layers."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.channels = channels
        self.linear_1 = nn.Linear(channels, width)
        self.linear_2 = nn.Linear(width, width)

    def sinusoids(self, t: Tensor) -> Tensor:
        """Times [B], whole or not -> [B, channels]."""
        sines, cosines = timestep_embedding(t, self.channels).chunk(2, dim=1)
        return torch.cat([cosines, sines], dim=1)

    def forward(self, t: Tensor) -> Tensor:
        """Times [B], whole or not -> embeddings [B, width]."""
        h = self.sinusoids(t).to(self.linear_1.weight.dtype)
        out: Tensor = self.linear_2(F.silu(self.linear_1(h)))
        return out
