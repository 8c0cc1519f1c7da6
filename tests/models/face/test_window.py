"""Tests the face window: where it puts eyes and mouth, and where it lets skin move."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.face.geometry import cut
from models.face.landmarks import Landmarks, steady_landmarks
from models.face.portrait import find_face
from models.face.window import (
    COVER_SIDE,
    EDGE,
    MIDDLE,
    SIDE,
    UNIT,
    face_cover,
    face_window,
    window_around,
)

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def landmarks(photo: NDArray[np.uint8]) -> Landmarks:
    """Of the photograph's face."""
    return steady_landmarks(photo, find_face(photo))


@pytest.mark.parametrize("roll", [-0.4, 0.0, 0.3])
def test_eyes_are_level_and_the_face_has_one_size(roll: float) -> None:
    across, down = np.array([np.cos(roll), np.sin(roll)]), np.array([-np.sin(roll), np.cos(roll)])
    middle = np.array([310.0, 200.0])
    eyes = np.stack([middle - 40 * across, middle + 40 * across])
    window = window_around(middle, middle + 120 * down, roll)
    left, right = window.apply(eyes)
    mouth = window.apply(middle + 120 * down)
    assert left[1] == pytest.approx(right[1])
    assert left[0] < right[0]
    np.testing.assert_allclose((left + right) / 2, (MIDDLE[0], MIDDLE[1] - UNIT / 2))
    np.testing.assert_allclose(mouth, (MIDDLE[0], MIDDLE[1] + UNIT / 2))


def test_landmarks_of_a_photograph_are_where_the_window_says(landmarks: Landmarks) -> None:
    window = face_window(landmarks)
    eyes, mouth = window.apply(landmarks.eyes), window.apply(landmarks.mouth)
    np.testing.assert_allclose((eyes.mean(0) + mouth) / 2, MIDDLE, atol=0.01)
    assert np.linalg.norm(eyes.mean(0) - mouth) == pytest.approx(UNIT, abs=0.01)
    assert abs(eyes[0, 1] - eyes[1, 1]) < 3


def test_a_mirrored_picture_gives_the_mirrored_window(photo: NDArray[np.uint8]) -> None:
    eyes, mouth, roll = np.array([118.0, 90.0]), np.array([126.0, 140.0]), 0.15
    flip = np.array([photo.shape[1], 0.0]), np.array([-1.0, 1.0])
    one = cut(photo, window_around(eyes, mouth, roll), SIDE, "edge")
    mirrored = window_around(flip[0] + flip[1] * eyes, flip[0] + flip[1] * mouth, -roll)
    other = cut(np.ascontiguousarray(photo[:, ::-1]), mirrored, SIDE, "edge")
    off = np.abs(one.astype(int) - other[:, ::-1].astype(int))
    assert off.mean() < 0.5


def test_skin_moves_in_the_face_and_not_at_the_rim(landmarks: Landmarks) -> None:
    window = face_window(landmarks)
    cover = face_cover(window.apply(landmarks.points[:, :2]))
    assert cover.shape == (COVER_SIDE, COVER_SIDE)
    assert cover.dtype == np.float32
    assert cover.min() >= 0 and cover.max() <= 1
    rim = np.ones_like(cover, bool)
    safe = int(EDGE * COVER_SIDE / SIDE)
    rim[safe:-safe, safe:-safe] = False
    assert cover[rim].max() < 0.5
    assert cover[[0, -1]].max() < 0.01 and cover[:, [0, -1]].max() < 0.01
    share = COVER_SIDE / SIDE
    for x, y in (*window.apply(landmarks.eyes), window.apply(landmarks.mouth)):
        assert cover[int(y * share), int(x * share)] > 0.99
    chin = window.apply(landmarks.points[152, :2])
    assert cover[min(int((chin[1] + 10) * share), 61), int(chin[0] * share)] > 0.5
