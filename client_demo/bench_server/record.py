"""Puts what was measured into one record, which is printed as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from statistics import median
from typing import Any

from client_demo.bench_server.aims import judge
from client_demo.bench_server.ending import Weighed
from client_demo.bench_server.figures import core_percent, frames_record, percentiles
from client_demo.bench_server.holding import Held
from client_demo.bench_server.options import BenchOptions
from client_demo.bench_server.processes import Usage
from models.bench.timing import hardware
from models.options import ModelOptions, read_size


def make_record(
    options: BenchOptions,
    readiness: Mapping[str, int],
    creations: tuple[list[float], list[float]],
    held: Held,
    weighed: tuple[Weighed, Weighed] | None,
) -> dict[str, Any]:
    """Everything about one run; figures that were not measured are None."""
    heard = held.heard
    prepared, new = map(percentiles, creations)
    size = read_size(options.size) if options.size else ModelOptions().size
    record: dict[str, Any] = {
        "bench": "server",
        **asdict(options),
        "size": list(size),
        "limit": readiness["max_sessions"],
        "measured_sessions": readiness["measured_sessions"],
        "first_frame_ms": {
            "burst": percentiles(heard.burst),
            "live": percentiles(heard.live),
            "unanswered": heard.unanswered,
        },
        "create_ms": {"prepared": prepared, "new": new},
        "frames": frames_record(options.sessions, heard.rhythms),
        "cost": _cost(held, options.seconds),
        "memory_mb": {
            "gateway": round(held.gateway[1].memory_mb, 1),
            "workers": round(held.workers[1].memory_mb, 1),
        },
        "ms_per_frame": round(median(heard.ms_per_frame), 2) if heard.ms_per_frame else None,
        "ended": ended_record(options.ended, *weighed) if weighed else None,
    }
    bars = [bar.to_json() for bar in judge(record)]
    return {**record, "bars": bars, "hardware": hardware()}


def ended_record(count: int, before: Weighed, after: Weighed) -> dict[str, Any]:
    """What ``count`` sessions left behind."""
    first, last = before.gateway + before.workers, after.gateway + after.workers
    return {
        "sessions": count,
        "memory_mb_each": round((last.memory_mb - first.memory_mb) / count, 3),
        "descriptors_each": round((last.descriptors - first.descriptors) / count, 3),
        "threads_each": round((last.threads - first.threads) / count, 3),
        "tasks": [before.tasks, after.tasks],
        "tasks_each": round((after.tasks - before.tasks) / count, 3),
        "gone_percent": round(100 * (count - after.sessions) / count, 1),
        "gateway": _before_and_after(before.gateway, after.gateway),
        "workers": _before_and_after(before.workers, after.workers),
    }


def _before_and_after(before: Usage, after: Usage) -> dict[str, list[float]]:
    return {
        "memory_mb": [round(before.memory_mb, 1), round(after.memory_mb, 1)],
        "descriptors": [before.descriptors, after.descriptors],
        "threads": [before.threads, after.threads],
    }


def _cost(held: Held, peers_seconds: float) -> dict[str, float | None]:
    """Percent of a core that each admitted session takes of each kind of process."""
    spent = {
        "gateway_percent": (held.gateway[1].cpu_s - held.gateway[0].cpu_s, held.seconds),
        "workers_percent": (held.workers[1].cpu_s - held.workers[0].cpu_s, held.seconds),
        "peers_percent": (held.heard.peers_cpu_s, peers_seconds),
    }
    admitted = len(held.heard.rhythms)
    return {name: core_percent(*parts, admitted) for name, parts in spent.items()}
