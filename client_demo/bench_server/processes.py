"""What Linux tells of a running process: processor time, memory, descriptors, threads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from models.errors import LiveheadError

PROC = Path("/proc")
OWN_MEMORY = ("Private_Clean", "Private_Dirty", "Swap")
MEGABYTE_KB = 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process, or of several together.

    Attributes:
        cpu_s: processor time since it began, seconds.
        memory_mb: memory that nobody shares, swapped parts included.
    """

    cpu_s: float
    memory_mb: float
    descriptors: int
    threads: int

    def __add__(self, other: Usage) -> Usage:
        """Both together."""
        return Usage(
            self.cpu_s + other.cpu_s,
            self.memory_mb + other.memory_mb,
            self.descriptors + other.descriptors,
            self.threads + other.threads,
        )


NOTHING = Usage(0.0, 0.0, 0, 0)


def require_proc() -> None:
    """Refuse systems that do not tell.

    Raises:
        LiveheadError: ``unsupported``.
    """
    if not (PROC / "self" / "smaps_rollup").exists():
        raise LiveheadError(
            "expected Linux, whose /proc tells what a process uses, got another system;"
            " run the bench there",
            code="unsupported",
        )


def usage_of(pid: int) -> Usage:
    """What a process uses.

    Raises:
        LiveheadError: there is no such process (``lost``).
    """
    place = PROC / str(pid)
    try:
        return Usage(
            cpu_seconds((place / "stat").read_text()),
            own_megabytes((place / "smaps_rollup").read_text()),
            len(os.listdir(place / "fd")),
            len(os.listdir(place / "task")),
        )
    except OSError as error:
        raise LiveheadError(
            f"expected the server's process {pid} to run, got: {error.strerror}; see what it wrote",
            code="lost",
        ) from error


def children_of(pid: int) -> list[int]:
    """Processes that a process started and that still run."""
    found = []
    for path in PROC.glob("[0-9]*/stat"):
        try:
            parent = _fields_of(path.read_text())[1]
        except OSError:  # it ended meanwhile
            continue
        if int(parent) == pid:
            found.append(int(path.parent.name))
    return found


def cpu_seconds(stat: str) -> float:
    """User and system time out of the text of ``/proc/PID/stat``."""
    fields = _fields_of(stat)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def own_megabytes(rollup: str) -> float:
    """Unshared memory out of the text of ``/proc/PID/smaps_rollup``."""
    lines = (line.split() for line in rollup.splitlines()[1:])
    return sum(int(words[1]) for words in lines if words[0].rstrip(":") in OWN_MEMORY) / MEGABYTE_KB


def _fields_of(stat: str) -> list[str]:
    """From the state on; the name before it may hold spaces and brackets."""
    return stat.rpartition(")")[2].split()
