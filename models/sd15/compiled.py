"""PyTorch's compiler for the published models: the two static shapes, as CUDA graphs on a GPU.

A key step runs ``everything``, a light step ``last``, each always with the same shapes: two graphs.
On CUDA devices weights are stored channels-last, and the compiler records CUDA graphs
(``reduce-overhead``), which removes the launches that make light steps slow. Run on a CPU only so
far; on a GPU not yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from models.lightning.devices import DeviceReplica
from models.sd15.unet import UNet

ENTRIES = ("everything", "last")


def compile_backbone(
    backbone: Any, lanes: Sequence[DeviceReplica] = (), *, backend: str = "inductor"
) -> None:
    """Compile a published backbone's network, and the light steps of replicas on other devices."""
    compile_network(backbone.network, backend=backend)
    for lane in lanes:
        replica: Any = lane.backbone
        if replica is not backbone:
            compile_network(replica.network, backend=backend, entries=("last",))


def compile_network(
    network: UNet, *, backend: str = "inductor", entries: Sequence[str] = ENTRIES
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
