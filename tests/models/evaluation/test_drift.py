"""Drift of made-up videos that fade, jump or rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.dataset.clips import load_clip
from models.evaluation.drift import (
    DRIFT_BARS,
    LOOKS,
    drift_metrics,
    evaluate_drift,
    look_at_frames,
    span_count,
    speech_for_drift,
    trend,
)
from models.evaluation.report import judge
from tests.support.puppet import PuppetGenerator, write_clip

pytestmark = pytest.mark.unit


def spans(colour: list[float], edges: float = 0.0) -> NDArray[np.float64]:
    """Nine spans whose red changes, and whose last has other edges."""
    looks = np.tile([100.0, 90.0, 80.0, 50.0, 0.15], (9, 1))
    looks[:, 0] += colour
    looks[-1, 3] *= 1 + edges
    return looks


def failed(looks: NDArray[np.float64]) -> list[str]:
    """Bars that spans miss."""
    return [v.metric for v in judge([drift_metrics(looks)], DRIFT_BARS) if not v.passed]


@pytest.mark.parametrize(
    ("looks", "misses"),
    [
        (spans([0.0] * 9), []),
        (spans([0.4, -0.3, 0.2, -0.4, 0.3, 0.1, -0.2, 0.4, 0.0]), []),
        (spans([0.2 * k for k in range(9)]), ["colour_trend"]),
        (spans([0.0] * 4 + [2.5] + [0.0] * 4), ["colour_drift_largest"]),
        (spans([0.0] * 8 + [2.5]), ["colour_drift", "colour_drift_largest"]),
        (spans([0.0] * 9, edges=-0.05), ["edges_drift_percent"]),
    ],
)
def test_bars_of_drift(looks: NDArray[np.float64], misses: list[str]) -> None:
    assert failed(looks) == misses


def test_a_trend_and_its_error() -> None:
    assert trend(np.linspace(0.0, 2.0, 9)) == pytest.approx((2.0, 0.0))
    rng = np.random.default_rng(2)
    found = [trend(rng.normal(0, 1, 9)) for _ in range(400)]
    beyond = np.mean([abs(change) > error for change, error in found])
    assert 0.03 < beyond < 0.17  # two standard errors with seven degrees of freedom: 0.086


def test_frames_are_looked_at_one_by_one() -> None:
    made: list[int] = []

    def chunks() -> Iterator[NDArray[np.uint8]]:
        for k in range(6):
            made.append(k)
            yield np.full((4, 256, 256, 3), 10 * k, np.uint8)

    generator = PuppetGenerator()
    looks = look_at_frames(chunks(), generator.prepare(), None)
    assert looks.shape == (24, len(LOOKS))
    assert looks[:, 0].tolist() == [10 * (k // 4) for k in range(24)]
    assert not looks[:, 3:].any()  # plain pictures have no edges
    assert made == list(range(6))


def test_the_last_span_says_what_the_first_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.evaluation.drift.SPAN_SECONDS", 0.4)
    clip = load_clip(write_clip(tmp_path, "900", "held_out", frames=50))
    speech = speech_for_drift([clip], 4)
    assert speech.frames == 40
    assert np.array_equal(speech.mouth[:10], speech.mouth[-10:])
    drift = evaluate_drift(PuppetGenerator(), np.zeros((9, 9, 3), np.uint8), speech, None, "test")
    assert drift.spans.shape == (4, 5)
    assert drift.metrics["colour_drift"] == pytest.approx(0, abs=1e-9)
    assert drift.metrics["colour_drift_largest"] > 0.05  # the mouth opens otherwise meanwhile


def test_spans_of_minutes() -> None:
    assert [span_count(minutes) for minutes in (0.1, 1, 3)] == [3, 3, 9]
