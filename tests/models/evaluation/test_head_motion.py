"""Head angles of exact rotations, of a tilted photograph, and against what was asked."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from models.evaluation.head_motion import HeadTracker, angles_of, compare_heads
from models.face.geometry import fit_similarity
from models.mini.scene.head_warp import turning
from tests.support.puppet import portrait

pytestmark = pytest.mark.unit


def test_angles_are_those_that_move_the_picture() -> None:
    rng = np.random.default_rng(4)
    points = rng.normal(0, 30, (40, 3)).astype(np.float32)
    pose = np.radians([5.0, -3.0, 2.0, 0.0, 0.0]).astype(np.float32)
    moved = points[:, :2] + points @ turning(pose).T
    cy, sy, cp, sp = np.cos(pose[0]), np.sin(pose[0]), np.cos(pose[1]), np.sin(pose[1])
    depth = points @ np.array([sy, cy * sp, cy * cp])
    _, turn, _ = fit_similarity(points, np.column_stack([moved, depth]))
    assert angles_of(turn) == pytest.approx(pose[:3], abs=1e-4)


def test_a_tilted_photograph_is_a_tilted_head() -> None:
    picture = portrait().picture
    tracker = HeadTracker(picture)
    assert np.degrees(tracker.angles(picture)) == pytest.approx([0, 0, 0], abs=1e-6)
    side = picture.shape[0]
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), 4.0, 1.0)  # anticlockwise: to the left
    tilted = np.asarray(cv2.warpAffine(picture, turn, (side, side)), np.uint8)
    assert np.degrees(tracker.angles(tilted)) == pytest.approx([0, 0, 4], abs=1)


def test_half_the_movement_and_some_noise() -> None:
    rng = np.random.default_rng(5)
    asked = rng.normal(0, 0.03, (400, 3))
    seen = asked * [1.0, 0.5, 0.0] + rng.normal(0, 0.01, asked.shape) * [0, 1, 1]
    found = compare_heads(seen, asked)
    assert found["head_yaw_asked_sd"] == pytest.approx(np.degrees(0.03), rel=0.1)
    assert found["head_yaw_percent"] == pytest.approx(100)
    assert found["head_pitch_slope_percent"] == pytest.approx(50, abs=4)
    assert found["head_pitch_percent"] > 55
    assert abs(found["head_roll_slope_percent"]) < 5 < found["head_roll_percent"]


def test_nobody_asked() -> None:
    found = compare_heads(np.ones((4, 3)), None)
    assert found["head_yaw_sd"] == 0
    assert np.isnan(found["head_yaw_slope_percent"])
