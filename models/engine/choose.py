"""Chooses an engine by name."""

from __future__ import annotations

import torch

from models.engine.openvino import OpenVinoEngine, is_installed
from models.engine.protocol import Engine
from models.errors import LiveheadError

ENGINES = ("auto", "eager", "openvino")


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
