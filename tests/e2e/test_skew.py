"""The arithmetic of the receiver's bench, on calls whose skew is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.fake import COUNTER_BITS
from tests.e2e.skew import (
    BEEP_FRAMES,
    FRAME_MS,
    Pair,
    aims,
    flashes,
    heard_times,
    measured,
    pair,
    picture,
    read_frames,
    slope,
)

pytestmark = pytest.mark.unit

DELAY_MS = 30.0
CHUNK_MS = 10.0
AHEAD_MS = 5.0
FIRST = 8  # frame of each second that flashes
SEEN_MS = 1000.0  # when frame 0 is shown


def page(
    seconds: int,
    skew_ms: float = 0.0,
    drift_ms_per_min: float = 0.0,
    *,
    left_out: frozenset[int] = frozenset(),
    start: int = 0,
) -> dict[str, Any]:
    """What a page notes of a call in which each beep is heard ``skew_ms`` after its flash; sound
    is taken two chunks at once."""
    numbers = [n for n in range(25 * seconds) if n not in left_out]
    frames = [
        [
            (start + n) % 2**COUNTER_BITS,
            FIRST <= n % BEEP_FRAMES < FIRST + 3,
            SEEN_MS + n * FRAME_MS,
            count,
        ]
        for count, n in enumerate(numbers, 1)
    ]
    flash = np.array([SEEN_MS + (25 * k + FIRST) * FRAME_MS for k in range(seconds)])
    heard = flash + skew_ms + drift_ms_per_min * flash / 60_000
    chunks = np.arange(0, SEEN_MS + 1000 * seconds, CHUNK_MS)
    taken = [[at, at - at % (2 * CHUNK_MS) + CHUNK_MS / 2] for at in chunks]  # at, on average
    stats = [
        {
            "at": 1000.0 * second,
            "playout": {
                "totalSamplesCount": 48_000 * second,
                "totalPlayoutDelay": 48_000 * second * DELAY_MS / 1000,
            },
        }
        for second in range(seconds + 2)
    ]
    beeps = [float(time) for time in heard - DELAY_MS - AHEAD_MS]
    return {"frames": frames, "taken": taken, "beeps": beeps, "ahead": AHEAD_MS, "stats": stats}


@pytest.mark.parametrize("skew_ms", [-80.0, 0.0, 23.0])
def test_a_known_skew_is_found(skew_ms: float) -> None:
    record = measured(page(20, skew_ms), settle_s=5)
    assert record["skew_ms"]["p50"] == pytest.approx(skew_ms, abs=0.3)
    assert record["skew_ms"]["max"] == pytest.approx(abs(skew_ms), abs=0.3)
    assert record["slope_ms_per_min"]["value"] == pytest.approx(0, abs=0.1)
    assert (record["n"], record["alone"], record["kept_pace"]) == (15, 0, True)
    assert record["start"]["apart_until_s"] == pytest.approx(4.3 if skew_ms < -25 else 0, abs=0.2)


def test_a_drift_is_found_and_judged() -> None:
    record = measured(page(60, 0, drift_ms_per_min=6), settle_s=5)
    assert record["slope_ms_per_min"]["value"] == pytest.approx(6, abs=0.1)
    assert record["slope_ms_per_min"]["error"] < 0.1
    assert [holds for _, _, holds in aims(record).values()] == [True, True, False]


def test_each_aim_can_miss() -> None:
    late = measured(page(20, 40.0), settle_s=5)
    assert [holds for _, _, holds in aims(late).values()] == [False, True, True]
    later = measured(page(20, 90.0), settle_s=5)
    assert [holds for _, _, holds in aims(later).values()] == [False, False, True]


def test_a_flash_that_was_left_out_is_no_skew_but_a_later_flash() -> None:
    first = 10 * BEEP_FRAMES + FIRST
    record = measured(page(20, 10.0, left_out=frozenset({first})), settle_s=5)
    assert record["skew_ms"]["max"] == pytest.approx(10, abs=0.3)
    assert record["as_shown_ms"]["max"] == pytest.approx(FRAME_MS - 10, abs=0.3)
    assert record["picture"]["left_out"] == 1
    assert record["picture"]["longest_gap_ms"] == pytest.approx(2 * FRAME_MS)


def test_a_pause_of_the_numbers_before_a_flash_moves_nothing() -> None:
    frames = read_frames(page(3)["frames"])
    known = flashes(frames)
    shifted = read_frames(page(3, start=7)["frames"])
    assert flashes(shifted) == known, "only distances between numbers count"


def test_a_slow_call_is_told_from_one_that_kept_pace() -> None:
    third = frozenset(n for n in range(500) if n % 3 == 0)
    assert not measured(page(20, left_out=third), settle_s=5)["kept_pace"]
    dark = page(20)
    dark["frames"] = [[n, flash and not 250 < n < 350, at, k] for n, flash, at, k in dark["frames"]]
    record = measured(dark, settle_s=5)
    assert record["alone"] == 4 and not record["kept_pace"]


def test_numbers_do_not_wrap() -> None:
    last = 2**COUNTER_BITS - 60
    frames = read_frames(page(5, start=last)["frames"])
    assert [frame.number for frame in frames] == list(range(last, last + 125))


def test_a_beep_without_flash_has_no_pair() -> None:
    assert pair([100.0, 1900.0], [(90.0, 90.0)]) == [Pair(100.0, 10.0, 10.0)]
    assert pair([100.0], []) == []


def test_gaps_and_what_the_page_could_not_look_at() -> None:
    rows = [[0, False, 0.0, 1], [1, False, 40.0, 2], [3, False, 120.0, 4], [9, False, 360.0, 5]]
    found = picture(read_frames(rows))
    assert found == {
        "fps": round(4 / 0.36, 2),
        "longest_gap_ms": 240.0,
        "freezes": 1,
        "shown": 4,
        "unread": 1,
        "left_out": 5,
    }


@pytest.mark.parametrize("alike", [0.0, 0.8])
def test_the_error_of_the_slope_is_its_scatter(alike: float) -> None:
    rng = np.random.default_rng(3)
    found = []
    for _ in range(300):
        noise = rng.normal(0, 5, 400)
        for k in range(1, 400):
            noise[k] += alike * noise[k - 1]
        pairs = [Pair(1000.0 * k, skew, skew) for k, skew in enumerate(noise)]
        found.append(slope(pairs))
    rates, errors = np.array(found).T
    assert errors.mean() == pytest.approx(rates.std(), rel=0.15)


def test_what_cannot_be_measured_is_said() -> None:
    with pytest.raises(ValueError, match="measure longer"):
        measured(page(6), settle_s=5)
    silent = page(20)
    for look in silent["stats"]:
        del look["playout"]
    with pytest.raises(ValueError, match="media-playout"):
        heard_times(silent)
