"""Chooses an engine by name and sets the process up for it."""

from __future__ import annotations

import os

import torch

from models.errors import LiveheadError
from models.runtime.eager import keep_freed_memory, preferred_dtype
from models.runtime.engine import Engine
from models.runtime.openvino import OpenVinoEngine, is_installed

ENGINES = ("auto", "eager", "openvino")


def prepare_engine(name: str, threads: int | None) -> Engine | None:
    """Set this process up for inference: threads, memory, and the engine called ``name``.

    With an engine of its own threads PyTorch is left one: two pools would fight for the cores.

    Args:
        threads: if None as many as there are cores; without an engine one fewer. PyTorch's threads
            wait for each other by spinning: on two cores of which another process took one, two
            threads were measured ten times slower than one.
    """
    keep_freed_memory()
    cores = os.cpu_count() or 1
    engine = choose_engine(name, threads or cores, preferred_dtype())
    torch.set_num_threads(1 if engine is not None else threads or max(1, cores - 1))
    return engine


def choose_engine(name: str, threads: int, dtype: torch.dtype) -> Engine | None:
    """The engine called ``name``; None stands for PyTorch itself, which needs no compiling.

    Args:
        name: ``auto`` is OpenVINO where it is installed, else PyTorch.
        threads: of an engine that has its own.
        dtype: to compute in.

    Raises:
        LiveheadError: there is no such engine (``bad_option``) or it is not installed
            (``missing_engine``).
    """
    if name not in ENGINES:
        raise LiveheadError(
            f"expected an engine out of: {', '.join(ENGINES)}; got {name!r}", code="bad_option"
        )
    if name == "eager" or (name == "auto" and not is_installed()):
        return None
    return OpenVinoEngine(threads, dtype)
