"""Says on what a measurement was made: processor, versions, number format, date."""

from __future__ import annotations

import os
import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from models.runtime.eager import preferred_dtype


def hardware() -> dict[str, str | int]:
    """A record to print beside every figure."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count() or 1,
        "torch": torch.__version__,
        "dtype": str(preferred_dtype()).removeprefix("torch."),
        "date": date.today().isoformat(),
        "livehead": _own_version(),
    }


def _processor() -> str:
    """The processor's name; Linux tells it in a file, others tell Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _own_version() -> str:
    try:
        return version("livehead")
    except PackageNotFoundError:
        return "not installed"
