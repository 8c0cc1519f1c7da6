"""Lanes: devices that each predict a share of a group's light steps, as the paper does on GPUs.

A lane holds a replica of what light steps need. Work is started on all lanes before any result is
asked for: on CUDA devices calls return at once and the lanes run side by side; on CPU devices they
run one after another, which tests the split and saves nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from models.lightning.cache import FeatureCache


class Tail(Protocol):
    """The part of a backbone that light steps need."""

    def tail(self, cached: FeatureCache, z: Tensor, t: Tensor, cond: Any) -> Tensor:
        """See ``models.lightning.denoiser.Backbone``."""
        ...


@dataclass(frozen=True)
class DeviceReplica:
    """A device and the replica that lives on it."""

    device: torch.device
    backbone: Tail


def make_replicas(backbone: Any, devices: Sequence[str | torch.device]) -> list[DeviceReplica]:
    """A lane for each device, in order: the backbone itself on the first one, where it is already,
    and replicas on the others.

    ``backbone`` names in ``left_out()`` the modules that light steps do without, if it can.
    """
    home, *others = map(torch.device, devices)
    return [
        DeviceReplica(home, backbone),
        *(DeviceReplica(other, replica(backbone, other)) for other in others),
    ]


def replica(backbone: Any, device: str | torch.device) -> Any:
    """A copy of what light steps need, on ``device``.

    Modules that the backbone's ``left_out()`` names are None in the copy: calling them there fails.
    """
    unused = backbone.left_out() if hasattr(backbone, "left_out") else ()
    memo: dict[int, Any] = {id(module): None for module in unused}
    return move(copy.deepcopy(backbone, memo), torch.device(device))


def predict_light_steps(
    lanes: Sequence[DeviceReplica],
    cached: FeatureCache,
    inputs: Sequence[Tensor],
    times: Sequence[Tensor],
    cond: Any,
) -> list[Tensor]:
    """Predictions of all light steps of a group, in order, on the device of their inputs.

    Each lane takes a run of neighbouring steps, as many as the others or one more or less.
    """
    started: list[tuple[Tensor, int]] = []
    for lane, (begin, end) in zip(lanes, split_evenly(len(inputs), len(lanes)), strict=True):
        n = end - begin
        if n == 0:
            continue
        here = lane.device
        z = torch.cat(list(inputs[begin:end])).to(here, non_blocking=True)
        t = torch.cat(list(times[begin:end])).to(here, non_blocking=True)
        kept, told = move(cached, here).repeat(n), move(cond.repeat(1), here).repeat(n)
        started.append((lane.backbone.tail(kept, z, t, told), n))
    home = inputs[0].device
    return [part.to(home) for v, n in started for part in v.chunk(n)]


def split_evenly(count: int, lanes: int) -> list[tuple[int, int]]:
    """``count`` things in ``lanes`` runs [begin, end), the longer ones first."""
    each, more = divmod(count, lanes)
    ends = [k * each + min(k, more) for k in range(lanes + 1)]
    return list(zip(ends, ends[1:], strict=False))


def move(value: Any, device: torch.device) -> Any:
    """Tensors anywhere in dataclasses, tuples, lists and mappings, moved; modules in place.

    What holds no tensors comes back as it is, and so does what is on the device already.
    """
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, nn.Module):
        return value.to(device)
    if is_dataclass(value) and not isinstance(value, type):
        moved = {f.name: move(getattr(value, f.name), device) for f in fields(value) if f.init}
        return replace(value, **moved)
    if isinstance(value, tuple):
        parts = [move(part, device) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if isinstance(value, list):
        return [move(part, device) for part in value]
    if isinstance(value, Mapping):
        return {name: move(part, device) for name, part in value.items()}
    return value
