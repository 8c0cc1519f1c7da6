"""``livehead bench model``: one record with every part, on what, and a table for people."""

from __future__ import annotations

import json

import pytest

from client_demo import bench_model

pytestmark = pytest.mark.unit


def test_the_record_holds_every_part_and_says_on_what(capsys: pytest.CaptureFixture[str]) -> None:
    record = bench_model.bench("random:3", "3:0,2+dfa", threads=1, frames=4)
    parts = "plain lightning lightning_dfa features key light light_dfa decode encode total"
    assert set(record["ms_per_frame"]) == set(parts.split())
    assert all(value > 0 for value in record["ms_per_frame"].values())
    assert record["plan"] == "3:0,2+dfa" and record["weights"] == "random:3"
    assert record["fps"] == pytest.approx(1000 / record["ms_per_frame"]["total"], rel=0.05)
    operations = record["gflop_per_frame"]
    assert operations["plain"] == pytest.approx(3 * operations["key"], abs=0.01)
    assert operations["lightning_dfa"] < operations["lightning"] < operations["plain"]
    assert {"cpu", "cores", "torch", "dtype", "date", "livehead"} <= set(record["hardware"])
    json.dumps(record)
    assert "RANDOM WEIGHTS" in capsys.readouterr().err
    bench_model.show(record)
    assert "frames per second" in capsys.readouterr().out
