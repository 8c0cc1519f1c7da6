"""Frames of a portrait: itself at rest; a face, a turn or a breath changes what it should."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.face.detector import detect_faces
from models.face.landmarks import Landmarks, locate_landmarks, steady_landmarks
from models.face.portrait import Portrait, prepare_portrait
from models.mini.scene.head_warp import POSE, HeadWarp
from models.mini.scene.matte import fill_behind, moving_matte
from models.mini.scene.scene import PortraitScene

pytestmark = pytest.mark.unit

Picture = NDArray[np.uint8]
SIDE = 512
CHIN, NOSE, CROWN = 152, 1, 10


@pytest.fixture(scope="module")
def portrait(photo: Picture) -> Portrait:
    return prepare_portrait(photo, SIDE)


@pytest.fixture(scope="module")
def rest(portrait: Portrait) -> Picture:
    """What a soft decoder would make of the window."""
    return np.asarray(cv2.GaussianBlur(portrait.window, (0, 0), 2.0), np.uint8)


@pytest.fixture(scope="module")
def scene(portrait: Portrait, rest: Picture) -> PortraitScene:
    return make_scene(portrait, portrait.person, rest)


def make_scene(portrait: Portrait, person: NDArray[np.float32], rest: Picture) -> PortraitScene:
    """The portrait's scene with another idea of where the person is."""
    return PortraitScene(
        portrait.picture, person, portrait.landmarks, portrait.to_window, portrait.cover, rest
    )


def pose(**columns: float) -> NDArray[np.float32]:
    """A pose with some columns set."""
    return np.array([columns.get(name, 0.0) for name in POSE], np.float32)


def difference(one: Picture, other: Picture) -> NDArray[np.int_]:
    """Largest difference of a pixel's colours, [H, W]."""
    return np.asarray(np.abs(one.astype(int) - other).max(2))


def found(picture: Picture) -> Landmarks:
    """Landmarks of the face in a picture, averaged."""
    return steady_landmarks(picture, locate_landmarks(picture, detect_faces(picture)[0]))


def test_at_rest_a_frame_is_the_portrait(
    scene: PortraitScene, portrait: Portrait, rest: Picture
) -> None:
    assert np.array_equal(scene.draw(rest, pose()), portrait.picture)


def test_steps_of_a_grey_level_do_not_flicker(
    scene: PortraitScene, portrait: Portrait, rest: Picture
) -> None:
    noise = np.random.default_rng(0).integers(-1, 2, rest.shape)
    noisy = np.clip(rest.astype(int) + noise, 0, 255).astype(np.uint8)
    assert np.array_equal(scene.draw(noisy, pose()), portrait.picture)


def test_only_the_window_changes(scene: PortraitScene, portrait: Portrait) -> None:
    frame = scene.draw(np.full((256, 256, 3), 128, np.uint8), pose())
    changed = difference(frame, portrait.picture) > 0
    assert changed[scene.face.box].any()
    changed[scene.face.box] = False
    assert not changed.any()


def test_no_border_shows(scene: PortraitScene, portrait: Portrait, rest: Picture) -> None:
    """Another light in the whole window fades out towards its rim."""
    brighter = np.asarray(np.clip(rest.astype(int) + 5, 0, 255), np.uint8)
    added = (scene.draw(brighter, pose()).astype(int) - portrait.picture).max(2)
    steps = np.maximum(np.abs(np.diff(added, axis=1))[1:], np.abs(np.diff(added, axis=0))[:, 1:])
    assert steps.max() <= 1
    rows, columns = scene.face.box
    edge = np.concatenate(
        [added[rows.start, columns], added[rows.stop - 1, columns], added[rows, columns.start]]
    )
    assert edge.max() == 0
    assert added[rows, columns].max() >= 4


def test_moved_skin_is_the_networks_alone(scene: PortraitScene, portrait: Portrait) -> None:
    """Where the window differs, none of the portrait's detail is left over it."""
    window = cv2.GaussianBlur(portrait.window, (0, 0), 2.0)
    x, y = portrait.to_window.apply(portrait.mouth_xy).astype(int)
    cv2.ellipse(window, (int(x), int(y)), (40, 30), 0, 0, 360, (120, 30, 30), -1)
    frame = scene.draw(np.asarray(window, np.uint8), pose())
    x, y = portrait.mouth_xy.astype(int)
    patch = frame[y - 8 : y + 8, x - 12 : x + 12].astype(int)
    assert np.abs(patch - [120, 30, 30]).max() <= 4


def test_detail_is_kept_half_a_pixel_beside_and_given_up_further_off(
    scene: PortraitScene, rest: Picture
) -> None:
    still = np.zeros((2, 2, 2), np.float32)

    def given_up(aside: float) -> float:
        matrix = np.array([[1, 0, aside], [0, 1, 0]])
        moved = cv2.warpAffine(rest, matrix, (256, 256), borderMode=cv2.BORDER_REPLICATE)
        return float(scene.face.unexplained(np.asarray(moved, np.uint8), still).max())

    assert given_up(0.5) < 0.1
    assert given_up(4.0) > 0.5


def test_the_background_stands_still(
    scene: PortraitScene, portrait: Portrait, rest: Picture
) -> None:
    frame = scene.draw(rest, pose(yaw=0.08, roll=0.05, pitch=-0.05, breath=0.002))
    away = cv2.dilate((portrait.person > 0.3).astype(np.uint8), np.ones((95, 95))) == 0
    assert away.sum() > 10_000
    assert difference(frame, portrait.picture)[away].max() == 0


def test_a_turn_leaves_the_shoulders_alone(
    scene: PortraitScene, portrait: Portrait, rest: Picture
) -> None:
    frame = scene.draw(rest, pose(yaw=0.08))
    eyes = portrait.eyes_xy.reshape(2, 2).mean(0)
    unit = float(np.linalg.norm(portrait.mouth_xy - eyes))
    chest = int(portrait.landmarks.points[CHIN, 1] + 1.5 * unit)
    assert chest < SIDE - 20
    assert difference(frame, portrait.picture)[chest:].max() == 0
    assert difference(frame, portrait.picture)[: chest - int(1.4 * unit)].max() > 50


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_head_turns_the_way_it_is_told(
    scene: PortraitScene, portrait: Portrait, rest: Picture, sign: int
) -> None:
    before = found(portrait.picture)
    unit = float(np.linalg.norm(before.mouth - before.eyes.mean(0)))

    def moved(point: int, **columns: float) -> NDArray[np.float32]:
        after = found(scene.draw(rest, pose(**{k: sign * v for k, v in columns.items()})))
        return np.asarray((after.points - before.points)[point, :2] * sign / unit)

    nose = moved(NOSE, yaw=0.08)
    assert 0.12 < nose[0] < 0.28  # about two and a half units before the neck's axis
    assert abs(nose[1]) < 0.04
    nose = moved(NOSE, pitch=0.08)
    assert 0.10 < nose[1] < 0.28
    assert abs(nose[0]) < 0.04
    assert moved(CROWN, roll=0.08)[0] == pytest.approx(-0.08 * 2.9, abs=0.06)
    tipped = found(scene.draw(rest, pose(roll=sign * 0.08)))
    assert (tipped.roll - before.roll) * sign == pytest.approx(-0.08, abs=0.02)


def test_a_breath_lifts_and_a_sway_shifts_the_face(portrait: Portrait) -> None:
    warp = HeadWarp(portrait.landmarks, (SIDE, SIDE))
    moved = warp.displacement(pose(sway=0.01, breath=0.02))
    face = moved[20:35, 28:38]
    assert np.allclose(face, [0.01 * SIDE, -0.02 * SIDE], atol=0.1)
    assert np.abs(warp.displacement(pose())).max() == 0


def test_nothing_is_stretched_much(portrait: Portrait) -> None:
    """Places stay in order and no distance changes by more than a quarter, at the largest turns."""
    warp = HeadWarp(portrait.landmarks, (SIDE, SIDE))
    for turn in (pose(yaw=0.09), pose(yaw=-0.09), pose(pitch=0.055), pose(roll=0.045)):
        source = warp.source(warp.displacement(turn))
        across, down = 1 + np.diff(source[..., 0], axis=1), 1 + np.diff(source[..., 1], axis=0)
        assert 0.7 < across.min() <= across.max() < 1.4
        assert 0.7 < down.min() <= down.max() < 1.4


def test_the_fill_leaves_alone_what_the_matte_does_not_cover(portrait: Portrait) -> None:
    matte = moving_matte(portrait.person)
    behind = fill_behind(portrait.picture, portrait.person)
    assert 0 <= matte.min() <= matte.max() == 1
    assert difference(behind, portrait.picture)[matte < 1].max() == 0
    x, y = portrait.mouth_xy.astype(int)
    assert difference(behind, portrait.picture)[y - 20 : y + 20, x - 20 : x + 20].mean() > 10


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_pictures_all_person_or_without_one_work(
    portrait: Portrait, rest: Picture, share: float
) -> None:
    scene = make_scene(portrait, np.full((SIDE, SIDE), share, np.float32), rest)
    assert np.array_equal(scene.draw(rest, pose()), portrait.picture)
    frame = scene.draw(rest, pose(yaw=0.05))
    assert (difference(frame, portrait.picture).max() > 0) == (share == 1.0)
