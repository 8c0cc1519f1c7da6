"""Draws conditions as a map: learned templates in face coordinates, mixed by a condition vector.

A vector that scales and shifts whole channels says nothing about places; a network that gets it so
must work out from scratch where a jaw that opens by a little more moves what. Templates say it: how
much of each goes into a frame is read from the frame's conditions, and they lie on every portrait
where its own eyes and mouth are.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ExpressionField(nn.Module):
    """K templates of C channels on a grid over the face.

    Args:
        vector: length of a condition vector.
        templates: K.
        channels: C.
        side: cells of the grid, each way.
        reach: half the grid's width in face coordinates (``anchor.geometry_planes``).
    """

    def __init__(self, vector: int, templates: int, channels: int, side: int, reach: float) -> None:
        super().__init__()
        self.channels, self.side, self.reach = channels, side, reach
        self.mix = nn.Linear(vector, templates)
        self.templates = nn.Linear(templates, channels * side * side, bias=False)
        nn.init.normal_(self.templates.weight, std=0.2 * templates**-0.5)

    def forward(self, vector: Tensor, places: Tensor) -> Tensor:
        """Vectors [B, F, E] and face coordinates (x, y) of each cell [B, 2, H, W]
        -> maps [B, F, C, H, W], zero beyond the grid."""
        batch, frames = vector.shape[:2]
        drawn = self.templates(F.silu(self.mix(vector))).view(
            batch, frames * self.channels, self.side, self.side
        )
        grid = places.permute(0, 2, 3, 1) / self.reach
        maps = F.grid_sample(drawn, grid.to(drawn.dtype), align_corners=False)
        return maps.view(batch, frames, self.channels, *maps.shape[2:])
