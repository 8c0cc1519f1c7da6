"""Keeps what a backbone's network gives at each call, before guidance joins the halves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from models.sd15.cfg import SD15Denoiser


@contextmanager
def outputs_of(backbone: SD15Denoiser) -> Iterator[list[Tensor]]:
    """Raw outputs [num_branches * B, C, F, H, W] of every call inside the block, in order."""
    kept: list[Tensor] = []
    leave = backbone.leave

    def keep(out: Tensor, z: Tensor) -> Tensor:
        video = out.view(-1, z.shape[2], *out.shape[1:]).transpose(1, 2)
        kept.append(video)
        return leave(out, z)

    backbone.leave = keep  # type: ignore[method-assign]
    try:
        yield kept
    finally:
        del backbone.leave
