"""``livehead bench rivals``: one record that says every bar, and a table for people."""

from __future__ import annotations

import argparse
import json

import cv2
import pytest
import torch

from client_demo import bench_rivals
from models.bench.rivals import PARTS
from models.errors import LiveheadError

pytestmark = pytest.mark.unit


def options(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench_rivals.add_arguments(parser)
    return parser.parse_args(given)


@pytest.mark.slow
def test_the_last_line_holds_times_parts_and_bars(capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads(), cv2.getNumThreads()
    try:
        assert bench_rivals.run(options("--rounds", "1", "--weights", "random:0")) == 0
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
    shown = capsys.readouterr()
    record = json.loads(shown.out.splitlines()[-1])
    times = "mini mini_plain mini_one_thread wav2lip_float32_batch4 wav2lip_bfloat16_batch1"
    assert set(record["ms_per_frame"]) == {*times.split(), "ultralight_float32_batch1"}
    assert all(value > 0 for value in record["ms_per_frame"].values())
    for path, parts in record["parts_ms"].items():
        assert tuple(parts) == PARTS
        assert sum(parts.values()) == pytest.approx(record["ms_per_frame"][path], rel=0.1)
    assert 100 < record["memory_mb"] < 2000
    assert len(record["bars"]) == 6 and record["rounds"] == 1 and record["threads"] == 2
    assert {"cpu", "cores", "torch", "dtype", "date", "livehead"} <= set(record["hardware"])
    assert "distance" in shown.out and "RANDOM WEIGHTS" in shown.err


@pytest.mark.parametrize("given", [["--rounds", "0"], ["--threads", "0"]])
def test_nothing_to_measure_is_refused(given: list[str]) -> None:
    with pytest.raises(LiveheadError) as caught:
        bench_rivals.run(options(*given))
    assert caught.value.code == "bad_option"
