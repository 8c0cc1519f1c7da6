"""Files that keep what was computed of something, and are computed anew for another thing."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import nn


def kept(path: Path, made_of: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``path`` keeps, if that was made of ``made_of``; else what ``make`` returns, kept."""
    if path.exists():
        found = torch.load(path, weights_only=True)
        if isinstance(found, dict) and found.get("made_of") == made_of:
            return found
    made = {"made_of": made_of, **make()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(made, path)
    return made


def fingerprint_of(module: nn.Module) -> str:
    """Names the weights of a module."""
    digest = sha256()
    for value in module.state_dict().values():
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()
