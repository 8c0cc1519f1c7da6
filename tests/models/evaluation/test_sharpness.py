"""Sharpness of the mouth and of all else, on noise that is blurred in one place."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation.eval_clip import WHOLE_EVERY, GeneratedVideo, mouth_boxes
from models.evaluation.sharpness import (
    edge_energy,
    mouth_energy,
    rest_of_frame,
    sharpness_against_portrait,
)
from models.face.geometry import Similarity

pytestmark = pytest.mark.unit

TO_WINDOW = Similarity(np.array([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]))
"""A window of half the size of the frame."""
NOISE = np.random.default_rng(3).integers(0, 256, (512, 512, 3)).astype(np.uint8)
FRAMES = WHOLE_EVERY + 1
BOXES = mouth_boxes(np.tile([128.0, 160.0], (FRAMES, 1)))


def video(frame: NDArray[np.uint8]) -> GeneratedVideo:
    """A video of one frame, of which two are kept whole."""
    window = cv2.resize(frame, (256, 256))
    return GeneratedVideo(np.stack([window] * FRAMES), np.stack([frame] * 2), TO_WINDOW)


def blurred(rows: slice, columns: slice) -> NDArray[np.uint8]:
    """The noise, soft in a part."""
    picture = NOISE.copy()
    picture[rows, columns] = cv2.GaussianBlur(picture[rows, columns], (0, 0), 3.0)
    return picture


def test_a_soft_mouth_does_not_count_as_the_rest() -> None:
    left, top, right, bottom = 2 * BOXES[0] + [8, 8, -8, -8]
    soft = video(blurred(slice(top, bottom), slice(left, right)))
    found = sharpness_against_portrait(soft, NOISE, BOXES)
    assert found["sharpness_rest_percent"] == pytest.approx(100, abs=0.01)
    share = (right - left) * (bottom - top) / 512**2
    assert found["sharpness_frame_percent"] == pytest.approx(100 * (1 - share), abs=1)


def test_a_soft_forehead_does() -> None:
    soft = video(blurred(slice(0, 128), slice(0, 512)))
    found = sharpness_against_portrait(soft, NOISE, BOXES)
    outside = 1 - np.prod(2 * (BOXES[0, 2:] - BOXES[0, :2])) / 512**2
    assert found["sharpness_rest_percent"] == pytest.approx(100 * (1 - 0.25 / outside), abs=1)


def test_without_portrait_or_whole_frames_nothing_is_measured() -> None:
    none = GeneratedVideo(np.zeros((1, 256, 256, 3), np.uint8), NOISE[:0][None][:0], TO_WINDOW)
    for found in (
        sharpness_against_portrait(video(NOISE), None, BOXES),
        sharpness_against_portrait(none, NOISE, BOXES[:0]),
    ):
        assert all(math.isnan(value) for value in found.values())


def test_the_mouth_box_follows_the_window_into_the_frame() -> None:
    turn = np.array([[0.0, 0.5, 0.0], [-0.5, 0.0, 256.0]])  # the window lies on its side
    rest = rest_of_frame(np.array([100, 20, 140, 60]), Similarity(turn), (512, 512))
    x, y = Similarity(turn).inverse().apply(np.array([120.0, 40.0])).astype(int)
    assert rest[y, x] == 0
    assert (rest == 0).sum() == pytest.approx(80 * 80, rel=0.05)


def test_mouth_energy_is_that_of_its_boxes() -> None:
    windows = np.stack([NOISE[:256, :256], NOISE[256:, 256:]])
    expected = 0.0
    for window, (left, top, right, bottom) in zip(windows, BOXES[:2], strict=True):
        weight = np.zeros((256, 256))
        weight[top:bottom, left:right] = 1
        expected += float((edge_energy(window) * weight).sum() / weight.sum())
    assert mouth_energy(windows, BOXES[:2]) == pytest.approx(expected, rel=1e-5)
