"""The face locator of Hallo and EchoMimic: a picture of where the face is, to features."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class FaceLocator(nn.Module):
    """The face's mask, eight times smaller and as wide as conv_in: 3x3 convolutions and SiLU."""

    def __init__(self, outputs: int, channels: tuple[int, ...], inputs: int = 1) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(inputs, channels[0], 3, padding=1)
        blocks = []
        for before, after in zip(channels, channels[1:], strict=False):
            blocks.append(nn.Conv2d(before, before, 3, padding=1))
            blocks.append(nn.Conv2d(before, after, 3, padding=1, stride=2))
        self.blocks = nn.ModuleList(blocks)
        self.conv_out = nn.Conv2d(channels[-1], outputs, 3, padding=1)

    def forward(self, mask: Tensor) -> Tensor:
        """Pictures [N, C, H, W] from 0 to 1 -> features [N, C, H / 8, W / 8]."""
        h = F.silu(self.conv_in(mask))
        for block in self.blocks:
            h = F.silu(block(h))
        out: Tensor = self.conv_out(h)
        return out
