"""Closing parted lips: edges meet, teeth hide, skin elsewhere and closed lips stay as they are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.face.closed_mouth import close_mouth, closing
from models.face.cuts import mouth_slit
from models.face.landmarks import Landmarks, steady_landmarks
from models.face.portrait import find_face, prepare_portrait
from models.face.texture import read_texture
from models.io.image import load_image

pytestmark = pytest.mark.unit

AVATARS = Path(__file__).parents[3] / "models" / "weights" / "avatars"
UPPER, LOWER = 13, 14
GAP = 18
"""How far the lips are parted, pixels of the picture."""
TOOTH = (225, 220, 205)

Picture = NDArray[np.uint8]


def find(picture: Picture) -> Landmarks:
    """Steady landmarks of the face."""
    return steady_landmarks(picture, find_face(picture))


def part_lips(picture: Picture) -> Picture:
    """The picture with the lips drawn apart over a row of bright teeth."""
    face = read_texture(picture, find(picture))
    mouth = mouth_slit(face)
    assert not mouth.parted
    scale = 1 / face.to_crop.scale
    edge = face.to_crop.inverse().apply(mouth.world(np.column_stack([mouth.x, mouth.upper])))
    height, width = picture.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    line = np.interp(x, edge[:, 0], edge[:, 1])
    along = np.interp(x, edge[:, 0], np.linspace(-1, 1, len(edge)), -1, 1)
    half = GAP / 2 * np.sqrt(1 - along**2)
    room = 30 * scale
    far = np.abs(y - line)
    share = 1 - np.clip((far - half) / room, 0, 1) ** 2
    source = y - np.sign(y - line) * half * share
    opened = cv2.remap(picture, x.astype(np.float32), source.astype(np.float32), cv2.INTER_CUBIC)
    opened[far < half] = TOOTH
    return np.asarray(opened, np.uint8)


@pytest.fixture(scope="module")
def closed() -> Picture:
    """A portrait with closed lips."""
    return load_image(AVATARS / "ada.jpg")


@pytest.fixture(scope="module")
def parted(closed: Picture) -> Picture:
    """The same, showing teeth."""
    return part_lips(closed)


def lip_gap(landmarks: Landmarks) -> float:
    """Between the middles of the lips, shares of the distance from eyes to mouth."""
    upper, lower = landmarks.points[[UPPER, LOWER], :2]
    return float(np.linalg.norm(upper - lower)) / landmarks.unit


def test_closed_lips_stay_as_they_are(closed: Picture) -> None:
    assert close_mouth(closed, find(closed)) is None


def test_parted_lips_close_as_the_landmark_network_sees_it(parted: Picture) -> None:
    found = find(parted)
    made = close_mouth(parted, found)
    assert made is not None
    assert lip_gap(found) > 0.12
    assert lip_gap(find(made.picture)) < 0.3 * lip_gap(found)
    assert lip_gap(made.landmarks) < 0.3 * lip_gap(found)


def test_no_tooth_is_left(closed: Picture, parted: Picture) -> None:
    made = close_mouth(parted, find(parted))
    assert made is not None
    before, teeth, left = (
        int((np.abs(picture.astype(int) - TOOTH).max(-1) < 12).sum())
        for picture in (closed, parted, made.picture)
    )
    assert teeth - before > 500
    assert left - before < 0.05 * (teeth - before)


def test_nothing_moves_above_the_nose_or_far_aside(parted: Picture) -> None:
    found = find(parted)
    made = close_mouth(parted, found)
    assert made is not None
    nose = int(found.points[1, 1])
    corners = found.points[[61, 291], 0]
    assert (made.picture[:nose] == parted[:nose]).all()
    for aside in (slice(0, int(corners[0] - 12)), slice(int(corners[1] + 12), None)):
        assert (made.picture[:, aside] == parted[:, aside]).all()


def test_the_edges_meet_and_the_order_of_heights_is_kept(parted: Picture) -> None:
    face = read_texture(parted, find(parted))
    mouth = mouth_slit(face)
    assert mouth.parted
    ends = [
        edge + closing(face, mouth, np.column_stack([mouth.x, edge]), np.full(len(edge), side))
        for edge, side in ((mouth.upper, -1.0), (mouth.lower, 1.0))
    ]
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-6)
    y = np.linspace(-80, 80, 641)
    for side, edge in ((-1.0, mouth.upper), (1.0, mouth.lower)):
        for x in mouth.x[::4]:
            column = np.column_stack([np.full(len(y), x), y])
            limit = float(np.interp(x, mouth.x, edge))
            own = side * (y - limit) >= 0
            moved = y + closing(face, mouth, column, np.full(len(y), side))
            assert (np.diff(moved[own]) > 0).all()


def test_a_session_rests_with_closed_lips(parted: Picture) -> None:
    portrait = prepare_portrait(parted, 384)
    assert portrait.report.mouth != "closed"
    assert "given closed lips" in " ".join(portrait.warnings)
    assert lip_gap(portrait.landmarks) < 0.06
    assert lip_gap(find(portrait.picture)) < 0.06
