"""Prepares a network for inference in plain PyTorch: number format, memory layout, fused layers."""

from __future__ import annotations

import ctypes
import sys
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's names for what mallopt sets
_KEEP_BYTES = 1 << 30


def for_inference(module: M, dtype: torch.dtype) -> M:
    """Cast weights, lay maps out channels-last, stop gradients and fuse what can be fused.

    In place. Buffers that a module names in ``float32_buffers`` stay in float32: a schedule in
    bfloat16 would be another schedule. Call it after the weights were loaded.
    """
    exact = {name: getattr(module, name).clone() for name in getattr(module, "float32_buffers", ())}
    module.eval().requires_grad_(False)
    # the stubs know no call with a memory format alone
    module.to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for name, value in exact.items():
        setattr(module, name, value)
    fuse = getattr(module, "fuse", None)
    if fuse is not None:
        fuse()
    return module


def preferred_dtype() -> torch.dtype:
    """bfloat16 where the CPU computes in it, else float32."""
    native = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if native else torch.float32


def keep_freed_memory() -> bool:
    """Tell the C library to keep freed blocks of megabytes for the next tensor of that size.

    Else each is returned to the kernel and faulted in again, page by page, which costs more than
    many an operation on it. For processes that serve one model; true where it took effect.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library than glibc
        return False
    settings = (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD)
    return all(mallopt(ctypes.c_int(s), ctypes.c_int(_KEEP_BYTES)) == 1 for s in settings)
