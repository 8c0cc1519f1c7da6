"""How many workers serve most: one for each core but one, where a model may choose its threads.

One thread for each worker wastes nothing: two workers of one thread make more chunks than one of
two, whose threads wait for each other. One core is left to the gateway and to whatever else the
machine does, so that sessions go on in real time when another process gets busy. Models whose
threads were chosen, and those on a GPU, have one worker.
"""

from __future__ import annotations

MOST_WORKERS = 16
MEMORY_SHARE = 0.5
"""Of the memory that is left when the first worker is warm."""


def useful_workers(
    free_threads: bool, cores: int, worker_bytes: int, available_bytes: int | None
) -> int:
    """Workers that the machine should have.

    Args:
        free_threads: the model may run on any number of threads.
        cores: that may be used.
        worker_bytes: that a warm worker takes.
        available_bytes: of memory, beside the first worker; None where nobody knows.
    """
    if not free_threads:
        return 1
    count = min(MOST_WORKERS, cores - 1)
    if available_bytes is not None:
        count = min(count, 1 + int(MEMORY_SHARE * available_bytes / worker_bytes))
    return max(1, count)
