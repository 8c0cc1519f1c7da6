"""Times calls in turns, and records the hardware that they ran on."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from models.runtime.eager import preferred_dtype

Call = Callable[[], object]

WARM_UP = 2


@dataclass(frozen=True)
class Spread:
    """Median and quartiles, milliseconds."""

    low: float
    median: float
    high: float

    def divided(self, by: float) -> Spread:
        """Time of one out of ``by`` equal parts."""
        return Spread(self.low / by, self.median / by, self.high / by)


def time_in_turns(
    calls: Mapping[str, Call],
    rounds: Iterable[object],
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Spread]:
    """Times of the calls, which take turns once in each of ``rounds``, by name.

    Args:
        clock: returns seconds.
    """
    for call in list(calls.values()) * WARM_UP:
        call()
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in rounds:
        for name, call in calls.items():
            began = clock()
            call()
            spent[name].append(1000 * (clock() - began))
    return {name: _spread(times) for name, times in spent.items()}


def _spread(times: list[float]) -> Spread:
    if len(times) == 1:
        return Spread(times[0], times[0], times[0])
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return Spread(low, median, high)


def hardware() -> dict[str, str | int]:
    """Processor, versions, number format and date, as a JSON record."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count() or 1,
        "torch": torch.__version__,
        "dtype": str(preferred_dtype()).removeprefix("torch."),
        "date": date.today().isoformat(),
        "livehead": _own_version(),
    }


def _processor() -> str:
    """Name of the processor; on Linux from ``/proc/cpuinfo``."""
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
