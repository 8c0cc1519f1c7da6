"""Shows the bench's record to people: what was asked, what was measured, what holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from client_demo.bench_server.aims import figure
from models.io import console

UNJUDGED = (
    ("pushed at once to first frame, p50 ms", "first_frame_ms.burst.p50"),
    ("pushed at once to first frame, p95 ms", "first_frame_ms.burst.p95"),
    ("as spoken to first frame, p50 ms", "first_frame_ms.live.p50"),
    ("as spoken to first frame, p95 ms", "first_frame_ms.live.p95"),
    ("utterances that were not answered", "first_frame_ms.unanswered"),
    ("create, prepared avatar, p50 ms", "create_ms.prepared.p50"),
    ("create, new portrait, p50 ms", "create_ms.new.p50"),
    ("sessions admitted", "frames.admitted"),
    ("sessions at 25 fps", "frames.holding"),
    ("frames a second, the slowest session", "frames.fps_min"),
    ("frames a second, mean", "frames.fps_mean"),
    ("longest frame gap, ms", "frames.longest_gap_ms"),
    ("gateway, % of a core a session", "cost.gateway_percent"),
    ("workers, % of a core a session", "cost.workers_percent"),
    ("the bench's peers, % of a core a session", "cost.peers_percent"),
    ("gateway, MB", "memory_mb.gateway"),
    ("workers, MB", "memory_mb.workers"),
    ("ms a frame, as the server says", "ms_per_frame"),
)
"""Figures that are shown where no aim judges them, by their place in the record."""


def show(record: Mapping[str, Any]) -> None:
    """Print the record as a table, the misses, and where it was measured."""
    bars = record["bars"]
    judged = {bar["what"] for bar in bars}
    rows: list[list[object]] = [
        [bar["what"], asked(bar), rounded(bar["value"]), "yes" if bar["met"] else "MISS"]
        for bar in bars
    ]
    for what, path in UNJUDGED:
        value = figure(record, path)
        if what not in judged and value is not None:
            rows.append([what, "", rounded(value), ""])
    console.table(["what", "asked", "measured", "holds"], rows)
    if record["ended"]:
        _show_ended(record["ended"])
    console.say("")
    console.say(verdict(bars))
    where, height_width = record["hardware"], record["size"]
    console.say(
        f"{record['model']} at {height_width[1]}x{height_width[0]}, {record['peers']},"
        f" {record['sessions']} sessions asked for, places for {record['limit']},"
        f" {record['minutes']:g} min, {record['busy']} busy processes beside:"
        f" {where['cpu']} ({where['cores']} cores), torch {where['torch']}, {where['date']}"
    )


def asked(bar: Mapping[str, Any]) -> str:
    """An aim's limit, for people."""
    return f"{'>=' if bar['at_least'] else '<='} {bar['limit']:g}"


def rounded(value: float) -> float:
    """What a table shows whole: thousands would else be powers of ten."""
    return round(value) if abs(value) >= 100 else value


def verdict(bars: list[dict[str, Any]]) -> str:
    """One sentence: what is missed, if anything."""
    missed = [bar["what"] for bar in bars if not bar["met"]]
    if not bars:
        return "no aim is for such a run"
    if not missed:
        return f"all {len(bars)} aims hold"
    return f"{len(missed)} of {len(bars)} aims are missed: {'; '.join(missed)}"


def _show_ended(ended: Mapping[str, Any]) -> None:
    console.say("")
    rows = [
        [f"{process}, {what}", *map(rounded, ended[process][key])]
        for process in ("gateway", "workers")
        for key, what in (
            ("memory_mb", "MB"),
            ("descriptors", "descriptors"),
            ("threads", "threads"),
        )
    ]
    rows.append(["gateway, tasks", *map(rounded, ended["tasks"])])
    console.table([f"{ended['sessions']} sessions that ended", "before", "after"], rows)
