"""Devices that each predict a share of a group's light steps, as the paper does on GPUs.

Each holds a replica of what light steps need. Work is started on all of them before any result is
asked for: on CUDA devices calls return at once and the replicas run side by side; on CPU devices
they run one after another, which tests the split and saves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from models.lightning.cache import FeatureCache
from models.lightning.denoiser import C, Denoiser
from models.lightning.pytree import to_device


class ReplicableDenoiser(Denoiser[C], Protocol[C]):
    """A denoiser that can be copied to other devices for its light steps."""

    def light_replica(self, device: torch.device) -> Denoiser[C]:
        """A copy of what light steps need, on ``device``; its ``full`` cannot be called."""
        ...


@dataclass(frozen=True)
class DeviceReplica:
    """A device and the denoiser that runs light steps on it."""

    device: torch.device
    denoiser: Denoiser[Any]


def make_replicas(
    denoiser: ReplicableDenoiser[C], devices: Sequence[str | torch.device]
) -> list[DeviceReplica]:
    """A replica for each device, in order; the first is the denoiser itself, where it is."""
    primary, *others = map(torch.device, devices)
    return [
        DeviceReplica(primary, denoiser),
        *(DeviceReplica(other, denoiser.light_replica(other)) for other in others),
    ]


def predict_light_steps(
    replicas: Sequence[DeviceReplica],
    cache: FeatureCache,
    inputs: Sequence[Tensor],
    times: Sequence[Tensor],
    cond: C,
    steps: Sequence[int],
) -> list[Tensor]:
    """Predictions of all light steps of a group, in order, on the device of their inputs.

    Each replica takes a run of neighbouring steps, as many as the others or one more or less.

    Args:
        inputs: latents [B, C, F, H, W] of each step; times: [B]; steps: numbers in the plan.
    """
    started: list[tuple[Tensor, int]] = []
    shares = split_evenly(len(inputs), len(replicas))
    for replica, (begin, end) in zip(replicas, shares, strict=True):
        n = end - begin
        if n == 0:
            continue
        device = replica.device
        z = torch.cat(list(inputs[begin:end])).to(device, non_blocking=True)
        t = torch.cat(list(times[begin:end])).to(device, non_blocking=True)
        own_cache = to_device(cache, device).repeat(n)
        own_cond = to_device(cond.repeat(1), device).repeat(n)
        v = replica.denoiser.light(own_cache, z, t, own_cond, step=steps[begin:end])
        started.append((v, n))
    primary = inputs[0].device
    return [part.to(primary) for v, n in started for part in v.chunk(n)]


def split_evenly(count: int, shares: int) -> list[tuple[int, int]]:
    """``count`` things in ``shares`` runs [begin, end), the longer ones first."""
    each, more = divmod(count, shares)
    ends = [k * each + min(k, more) for k in range(shares + 1)]
    return list(zip(ends, ends[1:], strict=False))
