"""The gain of the mouth is found by comparing the gaps between lips."""

from __future__ import annotations

import numpy as np
import pytest

from models.finetune.opening import LIMITS, gain_of
from models.mini.config import MINI

pytestmark = pytest.mark.unit

GAPS = 0.1 + 0.1 * np.sin(np.arange(100) / 4)


@pytest.mark.parametrize("smaller", [0.85, 1.0, 1.15])
def test_smaller_openings_are_told_to_be_larger(smaller: float) -> None:
    assert gain_of(smaller * GAPS, GAPS) == pytest.approx(MINI.mouth_gain / smaller)


def test_the_gain_is_limited() -> None:
    assert (gain_of(9 * GAPS, GAPS), gain_of(GAPS / 9, GAPS)) == LIMITS


@pytest.mark.parametrize(("drawn", "true"), [(0, 0), (0, 100), (100, 0), (1, 1)])
def test_what_cannot_be_tracked_changes_nothing(drawn: int, true: int) -> None:
    assert gain_of(GAPS[:drawn], GAPS[:true]) == MINI.mouth_gain


def test_a_mouth_that_never_moves_changes_nothing() -> None:
    assert gain_of(np.full(100, 0.1), GAPS) == MINI.mouth_gain
