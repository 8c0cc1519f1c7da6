"""What mouth units ask of the lips."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.asked_gap import asked_gap
from models.face.geometry import Similarity
from models.face.landmarks import Landmarks, move_landmarks
from models.mini.motion import MOUTH_UNITS
from models.mini.scene.skin_motion import SKIN_MOTION

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def marks() -> Landmarks:
    """The mean face."""
    with np.load(SKIN_MOTION) as archive:
        return Landmarks(archive["marks"], 1.0)


def units(**values: float) -> np.ndarray:
    """One row of mouth units."""
    row = np.zeros((1, len(MOUTH_UNITS)), np.float32)
    for name, value in values.items():
        row[0, MOUTH_UNITS.index(name)] = value
    return row


def test_the_jaw_opens_and_closing_undoes_it(marks: Landmarks) -> None:
    (wide,) = asked_gap(units(jawOpen=0.8), marks)
    (half,) = asked_gap(units(jawOpen=0.4), marks)
    assert 0.2 < wide < 1.0
    assert half == pytest.approx(wide / 2, rel=1e-3)
    assert asked_gap(units(jawOpen=0.8, mouthClose=0.8), marks) < 0.3 * wide
    assert asked_gap(units(jawOpen=0.4, mouthClose=0.8), marks) == pytest.approx(
        asked_gap(units(jawOpen=0.4, mouthClose=0.4), marks)
    )


def test_closed_lips_stay_closed(marks: Landmarks) -> None:
    assert asked_gap(units(), marks) == 0
    assert asked_gap(units(mouthPress=1.0, mouthClose=1.0), marks) == pytest.approx(0, abs=0.02)


def test_a_larger_face_is_asked_for_the_same_share(marks: Landmarks) -> None:
    larger = move_landmarks(marks, Similarity(np.array([[3.0, 0, 40], [0, 3.0, 7]])))
    row = units(jawOpen=0.5, mouthUpperUp=0.3)
    assert asked_gap(row, larger) == pytest.approx(asked_gap(row, marks), rel=1e-3)
