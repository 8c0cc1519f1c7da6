"""Random values for networks of any size: the picture is noise, the time is right."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.errors import LiveheadError
from models.options import RANDOM

_TABLE = "pos_encoder.pe"
_GAIN = 0.7
"""Below 1, so that depth does not blow values up."""


def seed_of(weights: str) -> int:
    """``random:7`` -> 7.

    Raises:
        LiveheadError: no whole number follows (``bad_option``).
    """
    try:
        return int(weights.removeprefix(RANDOM))
    except ValueError as error:
        raise LiveheadError(
            f"expected {RANDOM}SEED with a whole number, got {weights!r}", code="bad_option"
        ) from error


def randomise(
    networks: Mapping[str, nn.Module],
    seed: int,
    dtypes: Mapping[str, torch.dtype],
    device: torch.device | str = "cpu",
) -> None:
    """Give networks on the meta device random values, drawn in the given dtypes.

    Matrices are normal with deviation 0.7 / sqrt(inputs), norms' gains 1, biases 0, tables of
    positions as ``position_table`` computes them.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, network in networks.items():
        state = {
            key: _value(key, tensor, dtypes[name], generator).to(device)
            for key, tensor in network.state_dict().items()
        }
        network.load_state_dict(state, strict=True, assign=True)
        network.requires_grad_(False)
        network.eval()


def _value(key: str, tensor: Tensor, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    if key.endswith(_TABLE):
        return position_table(tensor.shape[1], tensor.shape[2]).to(dtype)
    kind = dtype if tensor.is_floating_point() else tensor.dtype
    value = torch.empty(tensor.shape, dtype=kind)
    if tensor.ndim < 2:
        return value.fill_(1.0 if key.endswith("weight") else 0.0)
    inputs = tensor[0].numel()
    return value.normal_(0.0, _GAIN / math.sqrt(inputs), generator=generator)


def position_table(length: int, width: int) -> Tensor:
    """Sine on even and cosine on odd channels, base 10000: float32 [1, length, width]."""
    position = torch.arange(length, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(1e4) / width))
    table = torch.zeros(1, length, width)
    table[0, :, 0::2] = torch.sin(position * rate)
    table[0, :, 1::2] = torch.cos(position * rate)
    return table
