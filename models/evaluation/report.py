"""Judges metrics of all clips and their means by acceptance bars; a table and a JSON record."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.evaluation.compare import Metrics

TOOLS = ("ruler", "landmarks")
"""The mouth metric (``ruler``) correlates more closely; landmarks measure shape where it may
measure darkness alone."""
CHANGE_LIMIT = 1.3
BACKGROUND_LIMIT = 1.0
COLOUR_LIMIT = 2.0
"""Levels of 0..255 by which generated pictures may drift more than the truth does."""
BORDER_LIMIT = 0.10
"""Share by which pictures may change more at chunk borders than inside, beyond the truth."""


@dataclass(frozen=True)
class Bar:
    """One acceptance criterion.

    Attributes:
        name: of the metric, without the tool where several measure it.
        asks: the criterion in words.
        holds: whether a value passes, given all metrics of the clip.
    """

    name: str
    asks: str
    holds: Callable[[float, Metrics], bool]


def _blinks(rate: float, metrics: Metrics) -> bool:
    """Blink rate within half of the truth's, and at least half of its depth."""
    truth = metrics["blinks_per_minute_truth"]
    often = 0.5 * truth <= rate <= 1.5 * truth
    return rate > 0 and often and metrics["blink_depth"] >= 0.5 * metrics["blink_depth_truth"]


BARS = (
    Bar("mouth_correlation", ">= 0.75", lambda value, _: value >= 0.75),
    Bar("mouth_amplitude_percent", "60 .. 120", lambda value, _: 60 <= value <= 120),
    Bar("sync_offset_frames", "-1 .. 1", lambda value, _: abs(value) <= 1),
    Bar("frame_change", f"<= {CHANGE_LIMIT}", lambda value, _: value <= CHANGE_LIMIT),
    Bar("blinks_per_minute", "truth +- half of it", _blinks),
    Bar(
        "drift_background_excess",
        f"<= {BACKGROUND_LIMIT:g} levels",
        lambda value, _: value <= BACKGROUND_LIMIT,
    ),
    Bar(
        "drift_colour_excess", f"<= {COLOUR_LIMIT:g} levels", lambda value, _: value <= COLOUR_LIMIT
    ),
    Bar("border_ratio_excess", f"<= {BORDER_LIMIT}", lambda value, _: value <= BORDER_LIMIT),
)


@dataclass(frozen=True)
class BarVerdict:
    """Result of one bar on one metric; ``passed`` is None where it could not be measured."""

    bar: Bar
    metric: str
    passed: bool | None


def metric_names(name: str, clips: Sequence[Metrics]) -> list[str]:
    """Full names of a metric: for every tool that measured it in some clip, or the first tool."""
    if any(name in metrics for metrics in clips):
        return [name]
    full = [f"{name}.{tool}" for tool in TOOLS]
    return [one for one in full if any(_measured(metrics, one) for metrics in clips)] or full[:1]


def judge(clips: Sequence[Metrics]) -> list[BarVerdict]:
    """Apply every bar to every clip and their mean, by every tool; all of them must pass."""
    verdicts = []
    cases = [*clips, mean_metrics(clips)] if clips else []
    for bar in BARS:
        for metric in metric_names(bar.name, clips):
            measured = bool(cases) and all(_measured(case, metric) for case in cases)
            passed = all(bar.holds(case[metric], case) for case in cases) if measured else None
            verdicts.append(BarVerdict(bar, metric, passed))
    return verdicts


def _measured(metrics: Metrics, name: str) -> bool:
    return math.isfinite(metrics.get(name, math.nan))


def mean_metrics(clips: Sequence[Metrics]) -> Metrics:
    """Mean of each metric over the clips in which it was measured."""
    names = [name for metrics in clips for name in metrics]
    means = {}
    for name in dict.fromkeys(names):
        values = [metrics[name] for metrics in clips if _measured(metrics, name)]
        means[name] = sum(values) / len(values) if values else math.nan
    return means


def table_rows(clips: Mapping[str, Metrics]) -> tuple[list[str], list[list[object]]]:
    """Headings and rows of a table: one metric a row, one clip a column."""
    verdicts = {verdict.metric: verdict for verdict in judge(list(clips.values()))}
    mean = mean_metrics(list(clips.values()))
    rows: list[list[object]] = []
    for name in mean:
        values: list[object] = [_cell(metrics.get(name, math.nan)) for metrics in clips.values()]
        verdict = verdicts.get(name)
        verdict_cells = (
            ["", ""] if verdict is None else [verdict.bar.asks, verdict_text(verdict.passed)]
        )
        rows.append([name, *values, _cell(mean[name]), *verdict_cells])
    return ["metric", *clips, "mean", "bar", "verdict"], rows


def verdict_text(passed: bool | None) -> str:
    """``passed`` in a word or two."""
    return "not measured" if passed is None else "pass" if passed else "FAIL"


def record(clips: Mapping[str, Metrics]) -> dict[str, Any]:
    """The same as JSON; what could not be measured is null."""
    verdicts = judge(list(clips.values()))
    return {
        "passed": all(verdict.passed for verdict in verdicts),
        "bars": {
            verdict.metric: {"asks": verdict.bar.asks, "passed": verdict.passed}
            for verdict in verdicts
        },
        "mean": to_jsonable(mean_metrics(list(clips.values()))),
        "clips": {name: to_jsonable(metrics) for name, metrics in clips.items()},
    }


def to_jsonable(metrics: Metrics) -> dict[str, float | None]:
    """Metrics rounded to 4 digits, null instead of NaN and infinity."""
    return {
        name: round(value, 4) if math.isfinite(value) else None for name, value in metrics.items()
    }


def _cell(value: float) -> object:
    return "-" if math.isnan(value) else float(value)
