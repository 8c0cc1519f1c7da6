"""The arithmetic of ``livehead bench server``, its options, and what its runs are held to."""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from client_demo.bench_server import aims, creation, figures, holding, processes, report
from client_demo.bench_server.ending import Weighed
from client_demo.bench_server.options import BenchOptions, add_arguments, read_arguments
from client_demo.bench_server.processes import Usage
from client_demo.bench_server.record import ended_record
from models.errors import LiveheadError

pytestmark = pytest.mark.unit

EVEN = [k / 25 for k in range(1000)]


def test_even_frames_hold_their_rate() -> None:
    even = figures.rhythm(EVEN, 10.0, 20.0)
    assert even.fps == pytest.approx(25.0) and even.holds
    assert even.longest_gap_ms == pytest.approx(40.0)


def test_frames_outside_the_time_do_not_count() -> None:
    assert figures.rhythm([1.0, 1.5, 2.0, 3.0], 1.5, 2.5).fps == pytest.approx(2.0)


@pytest.mark.parametrize(
    "missing",
    [lambda t: t < 15, lambda t: not 14 < t < 14.3, lambda t: t >= 11],
    ids=["after", "between", "before"],
)
def test_a_stop_is_a_gap_wherever_it_is(missing: Callable[[float], bool]) -> None:
    stopped = figures.rhythm([moment for moment in EVEN if missing(moment)], 10.0, 20.0)
    assert stopped.longest_gap_ms >= 290 and not stopped.holds


def test_no_frame_at_all_is_one_gap() -> None:
    silent = figures.rhythm([], 0.0, 4.0)
    assert silent.fps == 0 and silent.longest_gap_ms == 4000 and not silent.holds


def test_one_frame_of_250_may_be_missing() -> None:
    assert figures.Rhythm(24.9, 80.0).holds and not figures.Rhythm(24.89, 40.0).holds


def test_percentiles_of_nothing_are_none() -> None:
    assert figures.percentiles([]) == {"p50": None, "p95": None, "n": 0}
    assert figures.percentiles(range(101)) == {"p50": 50.0, "p95": 95.0, "n": 101}


def test_frames_say_who_was_admitted_and_who_holds() -> None:
    record = figures.frames_record(3, [figures.Rhythm(25.0, 44.0), figures.Rhythm(20.0, 300.0)])
    assert (record["asked"], record["admitted"], record["holding"]) == (3, 2, 1)
    assert record["holding_percent"] == 50 and record["longest_gap_ms"] == 300
    assert (record["fps_min"], record["fps_mean"]) == (20.0, 22.5)


def test_nobody_admitted_leaves_figures_out() -> None:
    record = figures.frames_record(3, [])
    assert record["admitted"] == 0 and record["fps_min"] is None and record["sessions"] == []
    assert figures.core_percent(1.0, 10.0, 0) is None


def test_cost_is_shared_by_sessions() -> None:
    assert figures.core_percent(cpu_s=6.0, seconds=60.0, sessions=5) == 2.0


def test_what_is_left_behind_is_divided_by_sessions() -> None:
    before = Weighed(Usage(1.0, 80.0, 12, 6), Usage(5.0, 200.0, 9, 4), 0, 12)
    after = Weighed(Usage(9.0, 90.0, 14, 6), Usage(9.0, 210.0, 9, 4), 1, 14)
    record = ended_record(200, before, after)
    assert record["memory_mb_each"] == 0.1 and record["descriptors_each"] == 0.01
    assert record["threads_each"] == 0 and record["gone_percent"] == 99.5
    assert record["tasks"] == [12, 14] and record["tasks_each"] == 0.01
    assert record["gateway"]["memory_mb"] == [80.0, 90.0]


def test_processor_time_is_read_behind_any_name() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    fields = ["S", "17", *["0"] * 9, str(3 * ticks), str(ticks), "99"]
    assert processes.cpu_seconds(f"42 (a ) b) {' '.join(fields)}") == 4.0


def test_own_memory_leaves_shared_pages_out() -> None:
    rollup = "00-ff ---p 0 00:00 0 [rollup]\nRss: 9000 kB\nPss: 5000 kB\nShared_Clean: 6000 kB\n"
    own = "Private_Clean: 1024 kB\nPrivate_Dirty: 1536 kB\nSwap: 512 kB\nSwapPss: 512 kB\n"
    assert processes.own_megabytes(rollup + own) == 3.0


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux")
def test_this_process_uses_something() -> None:
    own = processes.usage_of(os.getpid())
    assert own.cpu_s > 0 and own.memory_mb > 1 and own.descriptors > 2 and own.threads >= 1
    assert os.getpid() in processes.children_of(os.getppid())


def test_a_process_that_is_gone_is_an_error() -> None:
    with pytest.raises(LiveheadError) as caught:
        processes.usage_of(2**22 + 1)  # above Linux's highest
    assert caught.value.code == "lost"


@pytest.mark.parametrize(
    "wrong", [{"sessions": 0}, {"busy": -1}, {"minutes": 0.0}, {"minutes": float("nan")}]
)
def test_what_cannot_be_measured_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(LiveheadError) as caught:
        BenchOptions(**wrong)
    assert caught.value.code == "bad_option"


def test_the_server_gets_what_was_given_alone() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert read_arguments(parser.parse_args([])).server_flags() == ["--model", "mini"]
    given = parser.parse_args(["--model", "fake", "--size", "256", "--max-sessions", "40"])
    flags = ["--model", "fake", "--size", "256", "--max-sessions", "40"]
    assert read_arguments(given).server_flags() == flags


def test_utterances_are_spread_and_never_overlap() -> None:
    assert BenchOptions().period_s == 4 and BenchOptions(sessions=2).period_s == 15
    assert BenchOptions(utterances=5).period_s == 12
    assert BenchOptions(utterances=1000).period_s == pytest.approx(3.2)
    assert BenchOptions(utterances=0).period_s is None


def test_sessions_are_shared_out_whole() -> None:
    assert holding.shares(25, 10) == [range(10), range(10, 20), range(20, 25)]


def test_an_altered_portrait_is_new_and_looks_the_same() -> None:
    picture = Image.fromarray(np.full((64, 80, 3), 120, np.uint8))
    file = io.BytesIO()
    picture.save(file, "JPEG")
    altered = [creation.altered(file.getvalue(), seed) for seed in range(3)]
    assert len({sha256(one).digest() for one in (file.getvalue(), *altered)}) == 4
    for one in altered:
        pixels = np.asarray(Image.open(io.BytesIO(one))).astype(int)
        assert pixels.shape == (64, 80, 3) and np.abs(pixels - 120).max() < 8


def run_record(**changes: Any) -> dict[str, Any]:
    """A run that misses nothing."""
    good = {"p50": 40.0, "p95": 50.0, "n": 9}
    frames = figures.frames_record(40, [figures.Rhythm(25.0, 44.0)] * 40)
    return {
        "model": "mini",
        "size": [512, 512],
        "sessions": 1,
        "busy": 0,
        "first_frame_ms": {"burst": good, "live": good},
        "create_ms": {"prepared": good, "new": good},
        "frames": frames,
        "cost": {"gateway_percent": 1.0},
        "ended": None,
    } | changes


FAKE = {"model": "fake", "size": [256, 256]}
ENDED = {
    "memory_mb_each": 0.1,
    "descriptors_each": 0,
    "threads_each": 0,
    "tasks_each": 0,
    "gone_percent": 100.0,
}


@pytest.mark.parametrize(
    "changes, judged",
    [
        ({}, 7),
        ({"sessions": 2}, 0),
        ({"size": [256, 256]}, 0),
        ({"busy": 1}, 1),
        (FAKE, 1),
        ({**FAKE, "sessions": 40}, 2),
        ({**FAKE, "sessions": 40, "busy": 1}, 1),
        ({**FAKE, "size": [512, 512]}, 0),
        ({**FAKE, "ended": ENDED}, 6),
    ],
)
def test_each_run_judges_what_it_can(changes: dict[str, Any], judged: int) -> None:
    bars = aims.judge(run_record(**changes))
    assert len(bars) == judged and all(bar.met for bar in bars)


def test_a_figure_that_is_missing_is_not_judged() -> None:
    nothing = figures.percentiles([])
    without = run_record(first_frame_ms={"burst": nothing, "live": nothing})
    assert len(aims.judge(without)) == 4


def test_a_gateway_that_sends_too_little_is_not_praised_for_its_cost() -> None:
    slow = figures.frames_record(40, [figures.Rhythm(5.0, 900.0)] * 40)
    (bar,) = aims.judge(run_record(**FAKE, sessions=40, frames=slow))
    assert bar.what == "sessions at 25 fps on one gateway" and not bar.met


def test_misses_are_stated() -> None:
    late = {"p50": 300.0, "p95": 340.0, "n": 9}
    record = run_record(first_frame_ms={"burst": late, "live": late})
    bars = [bar.to_json() for bar in aims.judge(record)]
    missed = [bar["what"] for bar in bars if not bar["met"]]
    assert missed == ["pushed at once to first frame, p50 ms", "as spoken to first frame, p50 ms"]
    assert report.verdict(bars) == f"2 of 7 aims are missed: {'; '.join(missed)}"
    assert report.asked(bars[0]) == "<= 120" and report.asked(bars[-1]) == ">= 24.9"


def test_large_figures_are_shown_whole() -> None:
    assert report.rounded(1234.5) == 1234 and isinstance(report.rounded(1234.5), int)
    assert report.rounded(0.423) == 0.423


def test_a_session_that_falls_behind_a_busy_process_is_a_miss() -> None:
    rhythms = [figures.Rhythm(25.0, 44.0), figures.Rhythm(24.0, 90.0)]
    (bar,) = aims.judge(run_record(busy=1, frames=figures.frames_record(2, rhythms)))
    assert not bar.met and bar.value == 50
