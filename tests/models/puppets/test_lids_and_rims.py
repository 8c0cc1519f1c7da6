"""Tests blinks on a portrait with glasses or dark make-up drawn on it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.face.cuts import lid_slits
from models.face.landmarks import Landmarks, steady_landmarks
from models.face.portrait import find_face
from models.face.texture import LUMA
from models.face.window import face_window
from models.io.image import load_image
from models.mini.motion import MOTION, MOUTH_UNITS

pytest.importorskip("moderngl", reason="puppets need the extra `synth`")
pytest.importorskip("scipy", reason="puppets need the extra `synth`")

from models.puppets.photo import read_photo  # noqa: E402
from models.puppets.puppet import Puppet  # noqa: E402
from models.puppets.rims import RAYS, trace_rims  # noqa: E402
from models.puppets.template import load_template  # noqa: E402

pytestmark = pytest.mark.unit

Picture = NDArray[np.uint8]
ADA = Path(__file__).parents[3] / "models" / "weights" / "avatars" / "ada.jpg"
LENS = np.array([0.37, 0.22])
"""Half a lens's width and height, as shares of the distance between the eyes."""
UPPER_LIDS, CHEEKS = (159, 386), (118, 347)
BLINK, BROW = MOTION.index("blink"), MOTION.index("brow")


@pytest.fixture(scope="module")
def portrait() -> tuple[Picture, Landmarks]:
    picture = load_image(ADA)
    return picture, steady_landmarks(picture, find_face(picture))


def lens(landmarks: Landmarks, eye: int) -> NDArray[np.floating]:
    """The outline of a lens around an eye [RAYS, 2], pixels of the portrait."""
    angle = np.arange(RAYS) * 2 * np.pi / RAYS
    apart = np.linalg.norm(landmarks.eyes[1] - landmarks.eyes[0])
    way = np.column_stack([np.cos(angle), np.sin(angle)])
    return np.asarray(landmarks.eyes[eye] + way * LENS * apart)


def with_glasses(picture: Picture, landmarks: Landmarks) -> Picture:
    """The picture with two dark rims drawn on it."""
    drawn, thick = picture.copy(), max(2, round(0.035 * landmarks.unit))
    for eye in (0, 1):
        line = np.round(lens(landmarks, eye) * 16).astype(np.int32)
        cv2.polylines(drawn, [line], True, (20, 22, 30), thick, cv2.LINE_AA, 4)
    return drawn


def make(picture: Picture, landmarks: Landmarks, *, glasses: bool = False) -> Puppet:
    try:
        return Puppet(picture, landmarks, glasses=glasses)
    except RuntimeError as error:
        pytest.skip(f"NOT RUN: {error}")


def show(puppet: Puppet, column: int, value: float) -> NDArray[np.floating]:
    """Brightness of a frame with one column of the motion track set, [256, 256]."""
    motion = np.zeros(len(MOTION))
    motion[column] = value
    brightness: NDArray[np.floating] = puppet.frame(np.zeros(len(MOUTH_UNITS)), motion).rgb @ LUMA
    return brightness


def rim_places(light: NDArray[np.floating], landmarks: Landmarks) -> NDArray[np.floating]:
    """How far outside the drawn line the darkness of each rim lies, window pixels, [2 * RAYS]."""
    window, off = face_window(landmarks), np.arange(-4.0, 4.01, 0.25)
    out = []
    for eye in (0, 1):
        line, middle = (window.apply(p) for p in (lens(landmarks, eye), landmarks.eyes[[eye]]))
        way = (line - middle) / np.linalg.norm(line - middle, axis=1, keepdims=True)
        at = (line[:, None] + way[:, None] * off[:, None]).astype(np.float32) - 0.5
        x, y = at[..., 0], at[..., 1]
        dark = 1 / (cv2.remap(light.astype(np.float32), x, y, cv2.INTER_LINEAR) + 8) ** 2
        out.append((dark * off).sum(1) / dark.sum(1))
    return np.concatenate(out)


def test_finds_drawn_rims(portrait: tuple[Picture, Landmarks]) -> None:
    picture, landmarks = portrait
    photo = read_photo(with_glasses(picture, landmarks), landmarks, load_template().marks)
    for eye, rim in enumerate(trace_rims(photo, lid_slits(photo))):
        line = photo.to_crop.apply(lens(landmarks, eye))
        off = np.linalg.norm(rim.points[:, None] - line, axis=-1).min(1)
        assert rim.seen.mean() > 0.95
        assert np.quantile(off, 0.95) < 1.5, np.round(off, 1)


@pytest.mark.parametrize("column", [BLINK, BROW])
def test_a_rim_keeps_its_shape(portrait: tuple[Picture, Landmarks], column: int) -> None:
    picture, landmarks = portrait
    picture = with_glasses(picture, landmarks)

    def bend(glasses: bool) -> float:
        puppet = make(picture, landmarks, glasses=glasses)
        rest, moved = (rim_places(show(puppet, column, v), landmarks) for v in (0.0, 1.0))
        return float(np.abs(moved - rest).max())

    assert bend(True) < 0.5
    assert bend(False) > 0.6, "the picture no longer tells rims that bend from those that do not"


def test_closed_lids_are_skin_with_a_line_of_lashes(portrait: tuple[Picture, Landmarks]) -> None:
    picture, landmarks = portrait
    smudged, points = picture.copy(), landmarks.points[:, :2]
    for brow, lid in (((65, 52, 53), (246, 160, 158)), ((295, 282, 283), (466, 387, 385))):
        high = 0.4 * points[list(brow)] + 0.6 * points[list(lid)]
        area = cv2.convexHull(np.round(np.concatenate([high, points[list(lid)]])).astype(np.int32))
        cv2.fillPoly(smudged, [area], (25, 20, 22))
    puppet = make(smudged, landmarks)
    closed = show(puppet, BLINK, 1.0)
    marks = puppet.frame(np.zeros(len(MOUTH_UNITS)), np.eye(len(MOTION))[BLINK]).marks
    for edge, cheek in zip(UPPER_LIDS, CHEEKS, strict=True):
        (x, y), (across, down) = np.round(marks[[edge, cheek]]).astype(int)
        above = closed[y - 7 : y - 3, x - 3 : x + 4].mean()
        assert above > 0.5 * closed[down, across]
        assert closed[y - 3 : y + 4, x - 3 : x + 4].min(0).mean() < 0.75 * above
