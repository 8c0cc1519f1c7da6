"""Frames equal those of a slow reference: every equation of the scene in floats, pixel by pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.face.landmarks import move_landmarks
from models.face.portrait import Portrait, prepare_portrait
from models.mini.motion import EXPRESSION, MOUTH_UNITS
from models.mini.scene.head_relief import make_relief
from models.mini.scene.head_warp import HeadWarp, turning
from models.mini.scene.matte import fill_behind, moving_matte
from models.mini.scene.scene import SHARPEN, PortraitScene
from models.mini.scene.skin_motion import SkinMotion
from models.mini.scene.window_layer import CORING, WindowLayer

pytestmark = pytest.mark.unit

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]
SIDE = 512
POSE = np.array([0.02, -0.01, 0.015, 0.001, 0.002])


@pytest.fixture(scope="module")
def portrait(photo: Picture) -> Portrait:
    return prepare_portrait(photo, SIDE)


def sampled(picture: NDArray[np.generic], x: Floats, y: Floats) -> Floats:
    """Bilinear values [H, W, C] at pixel indices; beyond the picture those of its edge."""
    values = np.atleast_3d(np.asarray(picture, np.float64))
    height, width = values.shape[:2]
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    a, b = (x - left)[..., None], (y - top)[..., None]
    upper = values[top, left] * (1 - a) + values[top, right] * a
    lower = values[bottom, left] * (1 - a) + values[bottom, right] * a
    return np.asarray(upper * (1 - b) + lower * b)


def laid_in(
    portrait: Portrait,
    layer: WindowLayer,
    rest: Picture,
    window: Picture,
    u: NDArray[np.float32],
) -> Floats:
    """The portrait with a window in it whose skin has moved by ``u``, [S, S, 3]."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    at = portrait.to_window.apply(np.dstack([x, y]) + 0.5)

    def up(field: NDArray[np.generic]) -> Floats:
        places = at * len(field) / 256 - 0.5
        return sampled(field, places[..., 0], places[..., 1])

    difference = window.astype(int) - rest
    core = difference - np.sign(difference) * (np.abs(difference) < CORING)
    inside = cv2.resize(layer._cover, (256, 256))[..., None]
    gone = up(u) @ np.linalg.inv(portrait.to_window.matrix[:, :2]).T
    detail = sampled(portrait.picture - up(rest), x - gone[..., 0], y - gone[..., 1])
    given_up = up(layer.unexplained(window, u))
    return np.asarray(up(rest) + up(core * inside) + (1 - given_up) * detail)


def drawn(portrait: Portrait, picture: Floats, pose: NDArray[np.floating]) -> Floats:
    """The frame of a portrait with ``picture`` for its own, [S, S, 3]."""
    matte = moving_matte(portrait.person)[..., None].astype(np.float64)
    behind = fill_behind(portrait.picture, portrait.person)
    layer = np.clip(picture - (1 - matte) * behind, 0, 255)
    warp = HeadWarp(portrait.landmarks, (SIDE, SIDE))
    forward = warp.displacement(pose)
    away = warp.source(forward).astype(np.float64)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    moved = sampled(np.dstack([layer, matte]), x + away[..., 0], y + away[..., 1])
    colours, share = moved[..., :3], moved[..., 3:]
    sharp = colours + SHARPEN * (colours - cv2.GaussianBlur(colours, (3, 3), 0))
    return np.asarray(np.clip(sharp + (1 - share) * behind, 0, 255))


def test_frames_equal_the_reference(portrait: Portrait) -> None:
    """A mouth that opens, skin that moves along and a turned head: but for rounding the same."""
    rest = np.asarray(cv2.GaussianBlur(portrait.window, (0, 0), 1.5), np.uint8)
    window = rest.copy()
    x, y = portrait.to_window.apply(portrait.mouth_xy).astype(int)
    cv2.ellipse(window, (int(x), int(y)), (30, 20), 0, 0, 360, (90, 30, 30), -1)
    window = np.asarray(cv2.GaussianBlur(window, (0, 0), 1.0), np.uint8)
    mouth = np.zeros(len(MOUTH_UNITS))
    mouth[MOUTH_UNITS.index("jawOpen")] = 0.4
    inside = move_landmarks(portrait.landmarks, portrait.to_window)
    skin = SkinMotion(inside.points, portrait.cover)
    u = skin.displacement(mouth, np.full(len(EXPRESSION), 0.3))
    scene = PortraitScene(
        portrait.picture,
        portrait.person,
        portrait.landmarks,
        portrait.to_window,
        portrait.cover,
        rest,
    )
    pose = 2 * POSE  # everything above the lowest rows moves enough to be sharpened in full
    expected = drawn(portrait, laid_in(portrait, scene.face, rest, window, u), pose)
    frame = scene.draw(window, pose, u)
    low = SIDE - 64
    difference = np.abs(frame - expected).max(2)[:low]
    assert np.abs(frame.astype(int) - portrait.picture).max(2)[:low].mean() > 4
    assert difference.mean() < 0.5
    assert (difference > 2).mean() < 0.002
    assert (difference > 6).mean() < 0.0001


def test_nodes_move_as_their_places_in_space(portrait: Portrait) -> None:
    warp = HeadWarp(portrait.landmarks, (SIDE, SIDE))
    at = (np.arange(66, dtype=np.float32) - 0.5) * (SIDE // 64)
    relief = make_relief(portrait.landmarks, np.stack(np.meshgrid(at, at), -1).reshape(-1, 2))
    spread = np.column_stack([relief.places - relief.pivot, relief.depth])
    expected = (spread @ turning(POSE).T) * relief.turn[:, None]
    expected += relief.sway[:, None] * [POSE[3] * SIDE, -POSE[4] * SIDE]
    assert np.abs(warp.displacement(POSE).reshape(-1, 2) - expected).max() < 1e-3
