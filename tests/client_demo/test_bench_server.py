"""``livehead bench server`` with a server of its own: every figure, for people and as JSON."""

from __future__ import annotations

import argparse
import json

import pytest

from client_demo.bench_server import command, ending

pytestmark = pytest.mark.e2e

KEYS = (
    "bench model sessions minutes utterances threads workers max_sessions size busy ended peers"
    " limit measured_sessions first_frame_ms create_ms frames cost memory_mb ms_per_frame bars"
    " hardware"
)


def bench(*given: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(["--model", "fake", "--size", "256", *given]))


def test_two_sessions_and_what_ended_ones_leave_behind(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "ROUNDS_BEFORE", 1)
    monkeypatch.setattr(ending, "SETTLE_S", 0.5)
    given = ["--sessions", "2", "--minutes", "0.15", "--utterances", "2", "--ended", "6"]
    assert bench(*given, "--busy", "1") == 0
    shown = capsys.readouterr()
    record = json.loads(shown.out.splitlines()[-1])
    assert list(record) == KEYS.split()
    assert record["size"] == [256, 256] and record["threads"] is None
    for way in ("burst", "live"):
        delay = record["first_frame_ms"][way]
        assert 1 <= delay["n"] <= 2 and 0 < delay["p50"] <= delay["p95"] < 10_000
    assert record["create_ms"]["prepared"]["n"] == 20 and record["create_ms"]["new"]["n"] == 8
    frames = record["frames"]
    assert frames["asked"] == frames["admitted"] == len(frames["sessions"]) == 2
    assert 5 < frames["fps_min"] <= frames["fps_mean"] < 30
    assert all(cost > 0 for cost in record["cost"].values())
    assert record["memory_mb"]["gateway"] > 0 and record["ms_per_frame"] > 0
    assert record["ended"]["sessions"] == 6 and record["ended"]["gone_percent"] == 100
    assert {"admitted ones at 25 fps, %", "left in memory, MB a session"} <= {
        bar["what"] for bar in record["bars"]
    }
    assert {"cpu", "cores", "torch", "date", "livehead"} <= set(record["hardware"])
    assert "measured" in shown.out and "2 sessions asked for" in shown.out
    assert "holding sessions" in shown.err


def test_a_caller_beyond_the_places_is_not_admitted_and_calls_are_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["--sessions", "2", "--max-sessions", "1", "--peers", "webrtc", "--minutes", "0.05"]
    assert bench(*given, "--utterances", "1", "--json") == 0
    shown = capsys.readouterr()
    record = json.loads(shown.out)
    assert record["frames"]["asked"] == 2 and record["frames"]["admitted"] == 1
    assert 5 < record["frames"]["fps_min"] < 35
    assert record["first_frame_ms"]["burst"]["n"] == 0 and record["cost"]["gateway_percent"] > 0
    assert not shown.err
