"""Judges metrics of all clips and their means by acceptance bars; a table and a JSON record."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.evaluation.compare import Metrics

Columns = dict[str, dict[str, Metrics]]
"""Metrics by column (what was measured), then by name of the clip or portrait."""

TOOLS = ("ruler", "landmarks")
"""The mouth metric (``ruler``) correlates more closely; landmarks measure shape where it may
measure darkness alone."""


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


def at_least(limit: float) -> Callable[[float, Metrics], bool]:
    """A bar from below."""
    return lambda value, _: value >= limit


def at_most(limit: float) -> Callable[[float, Metrics], bool]:
    """A bar from above."""
    return lambda value, _: value <= limit


BARS = (
    Bar("mouth_correlation.ruler", ">= 0.93", at_least(0.93)),
    Bar("mouth_correlation.landmarks", ">= 0.88", at_least(0.88)),
    Bar("mouth_amplitude_percent", "80 .. 115", lambda value, _: 80 <= value <= 115),
    Bar("closure_percent", ">= 95", at_least(95)),
    Bar("sync_offset_frames", "-0.5 .. 0.5", lambda value, _: abs(value) <= 0.5),
    Bar("chroma_error", "<= 4", at_most(4)),
    Bar("bluest", "<= 6", at_most(6)),
    Bar("sharpness_mouth_percent", ">= 92 of truth", at_least(92)),
    Bar("sharpness_rest_percent", ">= 97 of portrait, mouth left out", at_least(97)),
    Bar("identity_excess", "<= 0.03", at_most(0.03)),
    Bar("border_excess", "<= 1.1", at_most(1.1)),
    Bar("flicker", "<= 1 level", at_most(1)),
    Bar("blinks_per_minute", "truth +- half of it", _blinks),
    Bar("drift_background_excess", "<= 1 level", at_most(1)),
    Bar("drift_colour_excess", "<= 2 levels", at_most(2)),
)
"""Each is judged on the mean over all clips."""


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


def judge(clips: Sequence[Metrics], bars: Sequence[Bar] = BARS) -> list[BarVerdict]:
    """Apply every bar to the mean over the clips, by every tool."""
    verdicts = []
    cases = [mean_metrics(clips)] if clips else []
    for bar in bars:
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


def table_rows(
    clips: Mapping[str, Metrics],
    bars: Sequence[Bar] = BARS,
    beside: Mapping[str, Mapping[str, Metrics]] | None = None,
) -> tuple[list[str], list[list[object]]]:
    """Headings and rows of a table: one metric a row, one clip a column, then means.

    Args:
        beside: more columns, of which the means are shown alone.
    """
    verdicts = {verdict.metric: verdict for verdict in judge(list(clips.values()), bars)}
    mean = mean_metrics(list(clips.values()))
    means = [mean, *(mean_metrics(list(one.values())) for one in (beside or {}).values())]
    rows: list[list[object]] = []
    for name in mean:
        values = [_cell(one.get(name, math.nan)) for one in (*clips.values(), *means)]
        verdict = verdicts.get(name)
        verdict_cells = (
            ["", ""] if verdict is None else [verdict.bar.asks, verdict_text(verdict.passed)]
        )
        rows.append([name, *values, *verdict_cells])
    return ["metric", *clips, "mean", *(beside or {}), "bar", "verdict"], rows


def verdict_text(passed: bool | None) -> str:
    """``passed`` in a word or two."""
    return "not measured" if passed is None else "pass" if passed else "FAIL"


def record(
    clips: Mapping[str, Metrics],
    bars: Sequence[Bar] = BARS,
    beside: Mapping[str, Mapping[str, Metrics]] | None = None,
) -> dict[str, Any]:
    """The same as JSON; what could not be measured is null. Columns ``beside`` are not judged."""
    verdicts = judge(list(clips.values()), bars)
    return {
        "passed": all(verdict.passed for verdict in verdicts),
        "bars": {
            verdict.metric: {"asks": verdict.bar.asks, "passed": verdict.passed}
            for verdict in verdicts
        },
        **_values(clips),
        **{column: _values(values) for column, values in (beside or {}).items()},
    }


def _values(clips: Mapping[str, Metrics]) -> dict[str, Any]:
    return {
        "mean": to_jsonable(mean_metrics(list(clips.values()))),
        "clips": {name: to_jsonable(metrics) for name, metrics in clips.items()},
    }


def to_jsonable(metrics: Metrics) -> dict[str, float | None]:
    """Metrics rounded to 4 digits, null instead of NaN and infinity."""
    return {
        name: round(value, 4) if math.isfinite(value) else None for name, value in metrics.items()
    }


def _cell(value: float) -> object:
    return float(value) if math.isfinite(value) else "-"
