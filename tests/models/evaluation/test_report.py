"""Bars, means and what a report says about what could not be measured."""

from __future__ import annotations

import json
import math

import pytest

from models.evaluation.compare import Metrics
from models.evaluation.report import (
    BARS,
    judge,
    mean_metrics,
    metric_names,
    record,
    table_rows,
    verdict_text,
)

pytestmark = pytest.mark.unit


def good(**changed: float) -> Metrics:
    """Metrics that pass every bar, but for what is changed (dots written as two underscores)."""
    metrics = {
        "mouth_correlation.ruler": 0.95,
        "mouth_correlation.landmarks": 0.9,
        "mouth_amplitude_percent.ruler": 90.0,
        "closure_percent.ruler": 97.0,
        "sync_offset_frames.ruler": 0.3,
        "chroma_error": 3.0,
        "bluest": 5.0,
        "sharpness_mouth_percent": 94.0,
        "sharpness_rest_percent": 99.0,
        "identity_excess": 0.01,
        "border_excess": 1.05,
        "flicker": 0.5,
        "blinks_per_minute": 15.0,
        "blinks_per_minute_truth": 17.0,
        "blink_depth": 0.5,
        "blink_depth_truth": 0.6,
        "drift_background_excess": 0.1,
        "drift_colour_excess": 0.2,
    }
    return {**metrics, **{name.replace("__", "."): value for name, value in changed.items()}}


def verdict_on(name: str, *clips: Metrics) -> bool | None:
    """The verdict on one metric."""
    (found,) = [v for v in judge(clips) if v.metric == name]
    return found.passed


def test_good_metrics_pass_everything() -> None:
    assert all(verdict.passed for verdict in judge([good(), good()]))
    assert record({"a": good()})["passed"] is True


@pytest.mark.parametrize(
    ("bar", "changed"),
    [
        ("mouth_correlation.ruler", {"mouth_correlation__ruler": 0.9}),
        ("mouth_correlation.landmarks", {"mouth_correlation__landmarks": 0.8}),
        ("mouth_amplitude_percent.ruler", {"mouth_amplitude_percent__ruler": 69.0}),
        ("mouth_amplitude_percent.ruler", {"mouth_amplitude_percent__ruler": 150.0}),
        ("closure_percent.ruler", {"closure_percent__ruler": 90.0}),
        ("sync_offset_frames.ruler", {"sync_offset_frames__ruler": -1.4}),
        ("chroma_error", {"chroma_error": 5.5}),
        ("bluest", {"bluest": 7.5}),
        ("sharpness_mouth_percent", {"sharpness_mouth_percent": 80.0}),
        ("sharpness_rest_percent", {"sharpness_rest_percent": 90.0}),
        ("identity_excess", {"identity_excess": 0.08}),
        ("border_excess", {"border_excess": 1.2}),
        ("flicker", {"flicker": 1.6}),
        ("blinks_per_minute", {"blinks_per_minute": 0.0}),
        ("blinks_per_minute", {"blinks_per_minute": 50.0}),
        ("blinks_per_minute", {"blink_depth": 0.05}),
        ("drift_background_excess", {"drift_background_excess": 2.1}),
        ("drift_colour_excess", {"drift_colour_excess": 4.5}),
    ],
)
def test_a_bad_mean_fails_its_bar(bar: str, changed: dict[str, float]) -> None:
    verdicts = judge([good(), good(**changed)])
    assert [v.metric for v in verdicts if not v.passed] == [bar]


def test_what_is_not_measured_does_not_pass() -> None:
    unknown = good(flicker=math.nan)
    assert verdict_on("flicker", unknown) is None
    assert verdict_text(None) == "not measured"
    assert record({"a": unknown})["passed"] is False
    assert judge([])[0].passed is None


def test_every_tool_that_measured_must_agree() -> None:
    both = ["mouth_amplitude_percent.ruler", "mouth_amplitude_percent.landmarks"]
    seen = good(mouth_amplitude_percent__landmarks=85.0)
    assert metric_names("mouth_amplitude_percent", [seen]) == both
    assert metric_names("mouth_amplitude_percent", [good()]) == both[:1]
    assert metric_names("mouth_amplitude_percent", [{}]) == both[:1]
    assert metric_names("flicker", [good()]) == ["flicker"]
    assert verdict_on("mouth_amplitude_percent.landmarks", seen) is True
    low = good(mouth_amplitude_percent__landmarks=70.0)
    assert verdict_on("mouth_amplitude_percent.landmarks", low) is False


def test_means_leave_out_what_is_missing() -> None:
    means = mean_metrics([{"a": 1.0, "b": math.nan}, {"a": 3.0, "b": 5.0, "c": math.nan}])
    assert (means["a"], means["b"]) == (2, 5)
    assert math.isnan(means["c"])


def test_other_columns_stand_beside_and_are_not_judged() -> None:
    beside = {"against": {"900": good(flicker=3.0)}, "truth": {"900": {"flicker": 0.1}}}
    headings, rows = table_rows({"900": good()}, BARS, beside)
    assert headings == ["metric", "900", "mean", "against", "truth", "bar", "verdict"]
    by_name = {row[0]: row[1:] for row in rows}
    assert by_name["flicker"] == [0.5, 0.5, 3.0, 0.1, "<= 1 level", "pass"]
    assert by_name["bluest"][2:4] == [5.0, "-"]
    found = record({"900": good()}, BARS, beside)
    assert found["passed"] is True
    assert found["against"]["mean"]["flicker"] == 3.0
    assert found["truth"]["clips"]["900"] == {"flicker": 0.1}


def test_table_and_record() -> None:
    headings, rows = table_rows({"900": good(), "901": good(flicker=math.nan)})
    assert headings == ["metric", "900", "901", "mean", "bar", "verdict"]
    change = next(row for row in rows if row[0] == "flicker")
    assert change == ["flicker", 0.5, "-", 0.5, "<= 1 level", "pass"]
    parsed = json.loads(json.dumps(record({"901": good(flicker=math.inf)}), allow_nan=False))
    assert parsed["clips"]["901"]["flicker"] is None
    assert parsed["bars"]["mouth_correlation.ruler"] == {"asks": ">= 0.93", "passed": True}
