"""Units are recovered from landmarks; what the head does is no unit."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.face.landmarks import move_landmarks
from models.finetune.fitting import BROW, fit_units, split_units, without_turns
from models.finetune.stabilise import EYE_CORNERS, hold_still, smooth
from models.mini.motion import MOUTH_UNITS
from models.mini.scene.skin_motion import UNITS, unit_moves
from tests.support.speaking import speaker, syllables

pytestmark = pytest.mark.unit

Floats = NDArray[np.float64]
JAW, PUCKER, SMILE = (MOUTH_UNITS.index(n) for n in ("jawOpen", "mouthPucker", "mouthSmile"))


@pytest.fixture(scope="module")
def neutral() -> Floats:
    portrait = speaker()
    return move_landmarks(portrait.landmarks, portrait.to_window).points.astype(np.float64)


def movement(neutral: Floats, units: Floats, noise: float = 0.3) -> Floats:
    """Landmarks moved by units [T, 14], as a tracker would see them."""
    moves = np.tensordot(units, unit_moves(neutral)[..., :2], 1)
    rng = np.random.default_rng(1)
    return np.asarray(moves + noise * rng.normal(size=moves.shape))


@pytest.mark.parametrize("unit", [JAW, PUCKER, SMILE, BROW])
def test_a_unit_is_recovered(neutral: Floats, unit: int) -> None:
    true = np.zeros((60, len(UNITS)))
    true[:, unit] = syllables(60).jaw
    found = fit_units(movement(neutral, true), neutral)[:, unit]
    assert np.corrcoef(found, true[:, unit])[0, 1] > 0.95


def test_an_open_jaw_keeps_its_size(neutral: Floats) -> None:
    true = np.zeros((60, len(UNITS)))
    true[:, JAW] = syllables(60).jaw
    found = fit_units(movement(neutral, true), neutral)[:, JAW]
    assert 0.6 < np.polyfit(true[:, JAW], found, 1)[0] < 1.3


def test_units_stay_between_0_and_1(neutral: Floats) -> None:
    wild = np.random.default_rng(0).normal(size=(20, 468, 2)) * 30
    found = fit_units(wild, neutral)
    assert found.min() >= 0 and found.max() <= 1
    mouth, brow = split_units(found)
    assert mouth.shape == (20, len(MOUTH_UNITS)) and brow.shape == (20,)


def test_one_frame_can_be_fitted(neutral: Floats) -> None:
    assert fit_units(np.zeros((1, 468, 2)), neutral).max() < 0.3


def test_shift_zoom_roll_and_small_turns_move_no_unit(neutral: Floats) -> None:
    x, y, z = (neutral - neutral.mean(0)).T
    zero = np.zeros_like(x)
    rigid = np.stack([0.1 * x - 0.05 * y + 4, 0.1 * y + 0.05 * x - 3], -1) + np.stack(
        [0.08 * z, zero], -1
    )
    assert np.abs(without_turns(rigid[None], neutral)).max() < 1e-6
    still, moved = (fit_units(d[None].repeat(5, 0), neutral) for d in (0 * rigid, rigid))
    np.testing.assert_allclose(still, moved, atol=1e-6)


def test_a_head_is_held_still_whatever_the_mouth_does(neutral: Floats) -> None:
    units = np.zeros((1, len(UNITS)))
    units[0, JAW] = 0.8
    frame = neutral.copy()
    frame[:, :2] += movement(neutral, units, noise=0)[0] + (7, 5)
    (still,) = hold_still(frame[None], neutral)
    corners = list(EYE_CORNERS)
    off = still.apply(frame[corners, :2]) - neutral[corners, :2]
    assert np.abs(off).max() < 0.5


def test_smoothing_keeps_what_does_not_change() -> None:
    np.testing.assert_allclose(smooth(np.full((9, 2), 3.0), 1.0), 3.0)
    spike = np.zeros(21)
    spike[10] = 1.0
    smoothed = smooth(spike, 1.0)
    assert smoothed.sum() == pytest.approx(1) and smoothed[10] < 0.5
