"""What a run is held to: a table of figures, each judged only by runs that can judge it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from models.bench.rivals import BenchBar
from models.options import ModelOptions

Record = Mapping[str, Any]

SMALL = [256, 256]
MANY = 40


@dataclass(frozen=True)
class Aim:
    """One figure and where it should be.

    Attributes:
        what: for people.
        path: where the record has it.
        limit: the most, or with ``at_least`` the least.
        applies: whether a run's record can judge it.
    """

    what: str
    path: str
    limit: float
    applies: Callable[[Record], bool]
    at_least: bool = False


def of_mini_alone(record: Record) -> bool:
    """One session of the bundled model as it comes, nothing else running."""
    as_it_comes = record["model"] == "mini" and record["size"] == list(ModelOptions().size)
    return as_it_comes and _is_alone(record) and int(record["sessions"]) == 1


def of_small_fake(record: Record) -> bool:
    """Sessions that cost the gateway alone."""
    return record["model"] == "fake" and record["size"] == SMALL and _is_alone(record)


def of_small_whole(record: Record) -> bool:
    """The same, and all of them held their rate: frames that are not sent cost nothing."""
    return of_small_fake(record) and figure(record, "frames.holding_percent") == 100


def of_many(record: Record) -> bool:
    """As many sessions as one gateway should serve, or more, and nothing else."""
    return of_small_fake(record) and int(record["sessions"]) >= MANY


def of_busy(record: Record) -> bool:
    """Other processes compute meanwhile."""
    return not _is_alone(record)


def of_ended(record: Record) -> bool:
    """Sessions were ended in mixed ways."""
    return record["ended"] is not None


AIMS = (
    Aim("pushed at once to first frame, p50 ms", "first_frame_ms.burst.p50", 120, of_mini_alone),
    Aim("as spoken to first frame, p50 ms", "first_frame_ms.live.p50", 280, of_mini_alone),
    Aim("as spoken to first frame, p95 ms", "first_frame_ms.live.p95", 350, of_mini_alone),
    Aim("create, prepared avatar, p50 ms", "create_ms.prepared.p50", 50, of_mini_alone),
    Aim("create, new portrait, p50 ms", "create_ms.new.p50", 800, of_mini_alone),
    Aim("longest frame gap, ms", "frames.longest_gap_ms", 80, of_mini_alone),
    Aim("frames a second", "frames.fps_min", 24.9, of_mini_alone, at_least=True),
    Aim("gateway, % of a core a session", "cost.gateway_percent", 1.2, of_small_whole),
    Aim("sessions at 25 fps on one gateway", "frames.holding", MANY, of_many, at_least=True),
    Aim("admitted ones at 25 fps, %", "frames.holding_percent", 100, of_busy, at_least=True),
    Aim("left in memory, MB a session", "ended.memory_mb_each", 0.5, of_ended),
    Aim("left open, descriptors a session", "ended.descriptors_each", 0.01, of_ended),
    Aim("left running, threads a session", "ended.threads_each", 0.01, of_ended),
    Aim("left running, tasks a session", "ended.tasks_each", 0.01, of_ended),
    Aim("ended sessions that are gone, %", "ended.gone_percent", 100, of_ended, at_least=True),
)


def judge(record: Record) -> list[BenchBar]:
    """The aims that the run can judge; a figure that it did not get is left out."""
    return [
        BenchBar(aim.what, value, aim.limit, aim.at_least)
        for aim in AIMS
        if aim.applies(record) and (value := figure(record, aim.path)) is not None
    ]


def figure(record: Record, path: str) -> float | None:
    """The figure at a dotted path; None where it was not measured."""
    value: Any = record
    for name in path.split("."):
        value = value[name]
    return None if value is None else float(value)


def _is_alone(record: Record) -> bool:
    return int(record["busy"]) == 0
