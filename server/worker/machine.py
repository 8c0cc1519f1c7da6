"""What a worker asks the machine: the cores that it may use, how long they idled, memory left.

A container's limits count where the kernel shows them (cgroups of version 2).
"""

from __future__ import annotations

import math
import os
import resource
import sys
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Cores that this process may use, at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limit, _, period = _read(CGROUP / "cpu.max").partition(" ")
    if limit.isdecimal() and period.strip().isdecimal():
        cores = min(cores or 1, math.ceil(int(limit) / int(period)))
    return max(1, cores or 1)


def idle_seconds() -> float:
    """Seconds that the cores of this process have idled since the machine started, summed.

    0 for ever where the system does not tell (it is not Linux): then no core is taken to idle.
    """
    lines = _read(Path("/proc/stat")).splitlines()
    if not lines:
        return 0.0
    cores = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    ticks = 0
    for line in lines:
        name, *columns = line.split()
        if name in cores:
            ticks += int(columns[3]) + int(columns[4])  # idle, and idle while a disk works
    return ticks / os.sysconf("SC_CLK_TCK")


def available_bytes() -> int | None:
    """Memory that new processes can have; None where the system does not tell."""
    lines = dict(line.split(":", 1) for line in _read(Path("/proc/meminfo")).splitlines())
    if "MemAvailable" not in lines:
        return None
    available = 1024 * int(lines["MemAvailable"].split()[0])
    limit, used = _read(CGROUP / "memory.max"), _read(CGROUP / "memory.current")
    if limit.strip().isdecimal() and used.strip().isdecimal():
        available = min(available, int(limit) - int(used))
    return available


def peak_bytes() -> int:
    """The most memory that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
