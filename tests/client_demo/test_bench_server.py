"""``livehead bench server``: starts a server of its own and times both ways of pushing speech."""

from __future__ import annotations

import argparse
import json

import pytest

from client_demo import bench_server

pytestmark = pytest.mark.e2e

KEYS = (
    "bench model first_frame_ms fps longest_gap_ms ms_per_frame late_units worker_mb threads"
    " machine date"
)


def test_the_record_has_the_delay_of_both_ways_of_pushing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parser = argparse.ArgumentParser()
    bench_server.add_arguments(parser)
    options = parser.parse_args(["--model", "fake", "--utterances", "2"])
    assert bench_server.run(options) == 0
    output = capsys.readouterr().out
    record = json.loads(output.splitlines()[-1])
    assert list(record) == KEYS.split()
    assert record["bench"] == "server" and record["model"] == "fake" and record["threads"] == 2
    for way in ("burst", "live"):
        delay = record["first_frame_ms"][way]
        assert delay["n"] == 1 and 0 < delay["p50"] == delay["p95"] < 10_000
    assert 5 < record["fps"] < 30
    assert record["ms_per_frame"] > 0 and record["worker_mb"] > 0
    assert "frames per second" in output
