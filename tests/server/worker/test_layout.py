"""How many workers there are, and what the machine says of itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from server.worker import machine
from server.worker.layout import MOST_WORKERS, useful_workers

pytestmark = pytest.mark.unit

GB = 1 << 30
linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")


@pytest.mark.parametrize(
    ("cores", "workers"), [(1, 1), (2, 1), (3, 2), (4, 3), (16, 15), (64, MOST_WORKERS)]
)
def test_one_core_is_left_to_others(cores: int, workers: int) -> None:
    assert useful_workers(True, cores, GB, 1000 * GB) == workers
    assert useful_workers(True, cores, GB, None) == workers


def test_half_of_the_memory_that_is_left_is_taken() -> None:
    assert useful_workers(True, 16, GB // 2, 3 * GB) == 1 + 3
    assert useful_workers(True, 16, GB // 2, 0) == 1


def test_a_model_whose_threads_were_chosen_has_one_worker() -> None:
    assert useful_workers(False, 64, GB, 1000 * GB) == 1


@linux
def test_idling_is_told_by_the_system() -> None:
    uptime_s, idle_s = map(float, Path("/proc/uptime").read_text().split())
    assert 0 < machine.idle_seconds() <= 1.01 * idle_s + 1
    assert machine.idle_seconds() <= 1.01 * (os.cpu_count() or 1) * uptime_s + 1


@linux
def test_memory_is_told_by_the_system() -> None:
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    available = machine.available_bytes()
    assert available is not None and 0 < available < whole
    assert 10 << 20 < machine.peak_bytes() < whole


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("max 100000", None), ("150000 100000\n", 2), ("20000 100000", 1), ("", None)],
)
def test_a_containers_share_of_the_processor_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, cores: int | None
) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path / "none")
    free = machine.usable_cores()
    (tmp_path / "cpu.max").write_text(limit)
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    assert machine.usable_cores() == (free if cores is None else min(free, cores))


@linux
def test_a_containers_memory_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("900000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert machine.available_bytes() == 500_000
