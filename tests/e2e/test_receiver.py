"""The receiver's bench: a short call with loss gives a sensible record; a wrong call one line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.audio import SAMPLE_RATE
from models.fake import FLASH_RMS, FakeGenerator, read_counter
from tests.e2e.browser import require_chromium
from tests.e2e.receiver import main
from tests.support.marked import mark

pytestmark = pytest.mark.e2e


def test_a_short_call_with_loss_gives_a_record(capsys: pytest.CaptureFixture[str]) -> None:
    require_chromium()
    assert main(["--minutes", "0.34", "--loss", "3", "--settle", "8"]) == 0
    shown = capsys.readouterr().out.splitlines()
    record = json.loads(shown[-1])
    assert record["bench"] == "receiver" and record["cpu"] and record["chromium_version"]
    assert record["n"] >= 6
    assert abs(record["skew_ms"]["p50"]) < 500, "a beep belongs to its own flash"
    assert 0 < record["skew_ms"]["p95"] <= record["skew_ms"]["max"] < 500
    assert 15 < record["picture"]["fps"] < 27
    assert 40 <= record["picture"]["longest_gap_ms"] < 5000
    loss = record["loss_percent"]
    assert loss["asked"] == 3 and 1.5 < loss["dropped"] < 5
    assert record["datagrams"]["taken"] > 1000
    lost = record["chromium"]["audio"]["packetsLost"] + record["chromium"]["video"]["packetsLost"]
    assert lost > 5, "Chromium misses them as well"
    assert set(record["holds"]) <= {row.split("  ")[0] for row in shown}


@pytest.mark.parametrize(
    "arguments",
    [["--loss", "100"], ["--loss", "-1"], ["--minutes", "0.1"], ["--model", "hallo"]],
)
def test_a_wrong_call_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert arguments[0].removeprefix("--") in capsys.readouterr().err


def test_marks_are_drawn_on_any_generator() -> None:
    generator = mark(FakeGenerator(size=(128, 128)))
    picture = np.full((128, 128, 3), 96, np.uint8)
    stream = generator.open(generator.prepare(picture), seed=500)
    sound = np.zeros(640 * 6, np.float32)
    sound[640:1280] = 3 * FLASH_RMS * np.sin(np.arange(640) * 2 * np.pi * 1000 / SAMPLE_RATE)
    for first in (0, 4):
        (frames,) = generator.generate([stream], [sound])
        assert [read_counter(frame) for frame in frames] == list(range(first, first + 4))
        assert [bool(frame[-2, 0, 0] > 127) for frame in frames] == [False, True, False, False]
