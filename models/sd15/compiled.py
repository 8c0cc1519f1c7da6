"""PyTorch's compiler for the SD 1.5 models: the two static shapes, as CUDA graphs on a GPU.

A key step runs ``full``, a light step ``light``, each always with the same shapes: two graphs. On
CUDA devices weights are stored channels-last, and the compiler records CUDA graphs
(``reduce-overhead``), which removes the launches that make light steps slow. Run on a CPU only so
far; on a GPU not yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from models.lightning.devices import DeviceReplica
from models.sd15.cfg import SD15Denoiser
from models.sd15.unet import UNet

ENTRIES = ("full", "light")


def compile_backbone(
    denoiser: SD15Denoiser[Any],
    replicas: Sequence[DeviceReplica] = (),
    *,
    backend: str = "inductor",
) -> None:
    """Compile a denoiser's network, and the light steps of its replicas on other devices."""
    compile_network(denoiser.network, backend=backend)
    for replica in replicas:
        other = replica.denoiser
        if other is not denoiser and isinstance(other, SD15Denoiser):
            compile_network(other.network, backend=backend, entries=("light",))


def compile_network(
    network: UNet[Any], *, backend: str = "inductor", entries: Sequence[str] = ENTRIES
) -> None:
    """Let the entries of a network run compiled, from their next call on.

    Args:
        network: on its device already. A copy made later would call this one: copy it first.
        backend: of ``torch.compile``; CUDA graphs come with ``inductor`` alone.
        entries: which of them.
    """
    on_gpu = network.conv_in.weight.is_cuda
    if on_gpu:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    mode = "reduce-overhead" if on_gpu and backend == "inductor" else None
    network.reuses_outputs = mode is not None
    for entry in entries:
        compiled = torch.compile(getattr(network, entry), backend=backend, mode=mode)
        setattr(network, entry, compiled)
