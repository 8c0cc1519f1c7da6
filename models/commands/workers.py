"""Runs long work in several processes under one progress bar."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from multiprocessing.sharedctypes import Synchronized
from typing import Any

from models.io import console
from models.io.command import deaf_children

_POLL_SECONDS = 0.5
_done: Synchronized[int] | None = None


def parse_part(text: str) -> tuple[int, int]:
    """Read `i/n`.

    Raises:
        ValueError: it is not two numbers with 0 <= i < n.
    """
    left, _, right = text.partition("/")
    if left.isdigit() and right.isdigit() and int(left) < int(right):
        return int(left), int(right)
    raise ValueError(f"--part: expected i/n with 0 <= i < n, got {text!r}")


def run_in_processes(
    calls: list[tuple[Any, ...]],
    work: Callable[..., Any],
    *,
    start: Callable[..., None] | None = None,
    settings: tuple[Any, ...] = (),
    workers: int,
    label: str,
    total: int,
    unit: str,
    give_up: Callable[[], bool] = lambda: False,
) -> list[Any]:
    """What ``work`` returns for each call, in order.

    Args:
        start: prepares a process, called with ``settings``; None where nothing is to prepare.
        total: of what ``count`` counts in all calls together, for the bar.
        give_up: asked while waiting; once it is true, what has not returned is ended, and is None.
    """
    context = multiprocessing.get_context("spawn")
    done = context.Value("q", 0)
    results = []
    with deaf_children():
        pool = context.Pool(min(workers, len(calls)), _start, (done, start, settings))
    with pool, console.bar(label, total, unit) as bar:
        pending = [pool.apply_async(work, call) for call in calls]
        for result in pending:
            while not result.ready() and not give_up():
                result.wait(_POLL_SECONDS)
                bar.update(done.value - bar.n)
            results.append(result.get() if result.ready() else None)
        bar.update(done.value - bar.n)
    return results


def _start(
    done: Synchronized[int], start: Callable[..., None] | None, settings: Iterable[Any]
) -> None:
    global _done
    _done = done
    if start is not None:
        start(*settings)


def count() -> None:
    """One more unit is done; called in the processes."""
    assert _done is not None
    with _done.get_lock():
        _done.value += 1
