"""PyTorch's compiler for the published models: the two static shapes, as CUDA graphs on a GPU.

A key step runs ``everything``, a light step ``last``, each always with the same shapes: two graphs.
On CUDA devices weights are stored channels-last, and the compiler records CUDA graphs
(``reduce-overhead``), which removes the launches that make light steps slow. Run on a CPU only so
far; on a GPU not yet.
"""

from __future__ import annotations

import torch

from models.backbones.unet import UNet


def compile_network(network: UNet, *, backend: str = "inductor") -> None:
    """Let both entries of a network run compiled, from their next call on.

    Args:
        network: on its device already.
        backend: of ``torch.compile``; CUDA graphs come with ``inductor`` alone.
    """
    on_gpu = network.conv_in.weight.is_cuda
    if on_gpu:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    mode = "reduce-overhead" if on_gpu and backend == "inductor" else None
    for entry in ("everything", "last"):
        compiled = torch.compile(getattr(network, entry), backend=backend, mode=mode)
        setattr(network, entry, compiled)
