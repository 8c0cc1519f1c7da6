"""Peak memory of this process."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def peak_bytes() -> int:
    """Peak resident memory of this process, mapped files included.

    Linux keeps the peak of what a process was before it was replaced in ``ru_maxrss``, so that a
    process started by a large one would seem as large; ``VmHWM`` is its own.
    """
    if sys.platform.startswith("linux"):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
