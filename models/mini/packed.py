"""Weights in one byte: int8 with a scale for each output channel, half of what bfloat16 takes.

A weight w [O, ...] is stored as k = round(w / s), -127 <= k <= 127, beside its scales s [O] under
``NAME.scale``. Of a few scales, each channel takes the one with the least squared error: clipping
the largest values can cost less than rounding all the others more coarsely. The held-out loss of
the bundled denoiser stays the same to four digits.
"""

from __future__ import annotations

import torch
from torch import Tensor

SCALE = ".scale"
LARGEST = 127
SHARES = (1.0, 0.9, 0.8, 0.7)
"""Of the largest value of a channel: what ``LARGEST`` may stand for."""
LEAST_VALUES = 2000
"""Smaller tensors, and vectors, stay in float16."""
_LEAST_SCALE = 2.0**-24
"""The smallest number above 0 in float16."""


def pack(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What is stored of a network's state."""
    packed: dict[str, Tensor] = {}
    for name, value in state.items():
        if value.dim() < 2 or value.numel() < LEAST_VALUES:
            packed[name] = value.half()
        else:
            packed[name], packed[name + SCALE] = _pack(value.float())
    return packed


def unpack(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a network, float32, of what is stored; also of what was never packed."""
    state = {}
    for name, value in packed.items():
        if name.endswith(SCALE) and name.removesuffix(SCALE) in packed:
            continue
        scale = packed.get(name + SCALE)
        state[name] = value.float()
        if scale is not None:
            state[name] *= scale.float().view(-1, *[1] * (value.dim() - 1))
    return state


def _pack(value: Tensor) -> tuple[Tensor, Tensor]:
    """int8 like ``value`` [O, ...], and float16 scales [O]."""
    rows = value.flatten(1)
    largest = rows.abs().amax(1)
    scales = torch.stack([share * largest / LARGEST for share in SHARES]).half().float()
    scales.clamp_min_(_LEAST_SCALE)
    rounded = (rows / scales[..., None]).round().clamp(-LARGEST, LARGEST)
    errors = (rounded * scales[..., None] - rows).square().sum(-1)
    best, channels = errors.argmin(0), torch.arange(len(rows))
    return rounded[best, channels].to(torch.int8).view_as(value), scales[best, channels].half()
