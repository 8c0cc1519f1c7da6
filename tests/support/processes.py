"""What /proc says of a process: whether it lives, its memory, its open files."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be collected does not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in "ZX"


async def wait_dead(pid: int, patience_s: float) -> None:
    """Return when the process has ended.

    Raises:
        TimeoutError: it has not.
    """
    async with asyncio.timeout(patience_s):
        while alive(pid):
            await asyncio.sleep(0.02)


def resident_bytes(pid: int | None = None) -> int:
    """Memory that the process holds."""
    pages = Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def open_files(pid: int | None = None) -> int:
    """Open file descriptors."""
    return len(os.listdir(f"/proc/{pid or 'self'}/fd"))


def threads(pid: int | None = None) -> int:
    """Threads of the process."""
    return len(os.listdir(f"/proc/{pid or 'self'}/task"))
