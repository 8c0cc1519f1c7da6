"""Displacement maps of a portrait's skin: where face units take it, and where nothing goes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.face.landmarks import move_landmarks
from models.face.portrait import Portrait, prepare_portrait
from models.mini.motion import EXPRESSION, MOUTH_UNITS
from models.mini.scene.skin_motion import GRID, UNITS, SkinMotion

pytestmark = pytest.mark.unit

CHIN, BROW, NOSE = 152, 105, 1
STEP = 256 // GRID


@pytest.fixture(scope="module")
def portrait(photo: NDArray[np.uint8]) -> Portrait:
    return prepare_portrait(photo, 512)


@pytest.fixture(scope="module")
def points(portrait: Portrait) -> NDArray[np.float64]:
    inside = move_landmarks(portrait.landmarks, portrait.to_window).points.astype(np.float64)
    return inside


@pytest.fixture(scope="module")
def skin(portrait: Portrait, points: NDArray[np.float64]) -> SkinMotion:
    return SkinMotion(points, portrait.cover)


def displaced(
    skin: SkinMotion, points: NDArray[np.float64], mark: int, **units: float
) -> NDArray[np.float32]:
    """How far the skin under a landmark goes, window pixels."""
    mouth = np.array([units.get(name, 0.0) for name in MOUTH_UNITS], np.float32)
    expression = np.array([units.get(name, 0.0) for name in EXPRESSION], np.float32)
    x, y = (points[mark, :2] / STEP).astype(int)
    moved: NDArray[np.float32] = skin.displacement(mouth, expression)[y, x]
    return moved


def test_nothing_moves_at_rest(skin: SkinMotion, points: NDArray[np.float64]) -> None:
    assert skin.displacement(np.zeros(13, np.float32), np.zeros(4, np.float32)).shape == (32, 32, 2)
    assert np.abs(displaced(skin, points, CHIN)).max() == 0


def test_the_jaw_takes_the_chin_down_and_leaves_the_nose(
    skin: SkinMotion, points: NDArray[np.float64]
) -> None:
    across, down = displaced(skin, points, CHIN, jawOpen=0.5)
    assert 5 < down < 25
    assert abs(across) < 3
    assert np.abs(displaced(skin, points, NOSE, jawOpen=0.5)).max() < 1.5
    twice = displaced(skin, points, CHIN, jawOpen=1.0)
    assert twice == pytest.approx([2 * across, 2 * down], rel=1e-4)


def test_a_brow_rises(skin: SkinMotion, points: NDArray[np.float64]) -> None:
    assert displaced(skin, points, BROW, brow=0.6)[1] < -1.0


def test_mouth_close_undoes_an_open_jaw_and_no_more(
    skin: SkinMotion, points: NDArray[np.float64]
) -> None:
    alone = displaced(skin, points, CHIN, mouthClose=0.8)
    assert np.abs(alone).max() == 0


def test_no_map_reaches_the_rim(portrait: Portrait, skin: SkinMotion) -> None:
    mouth = np.ones(len(MOUTH_UNITS), np.float32)
    moved = skin.displacement(mouth, np.ones(len(EXPRESSION), np.float32))
    rim = np.ones((GRID, GRID), bool)
    rim[1:-1, 1:-1] = False
    assert np.abs(moved[rim]).max() < 0.5
    assert len(UNITS) == len(MOUTH_UNITS) + 1
