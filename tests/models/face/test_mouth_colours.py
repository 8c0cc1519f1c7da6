"""Colours of the mouth behind the lips: of teeth that show, of pictures without colours, of eyes
that show no whites."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.face.cuts import lid_slits, mouth_slit
from models.face.landmarks import Landmarks, steady_landmarks
from models.face.mouth_colours import MouthColours, hue, mouth_colours
from models.face.portrait import find_face, prepare_portrait
from models.face.texture import LUMA, read_texture
from models.io.image import load_image
from tests.models.face.test_closed_mouth import AVATARS, part_lips

pytestmark = pytest.mark.unit

PAINTED = np.array([225, 220, 205]) / 255
"""Colour of the teeth that ``part_lips`` draws."""

Picture = NDArray[np.uint8]


def read_mouth_colours(picture: Picture, landmarks: Landmarks) -> MouthColours:
    """Those of a picture whose face and cuts are found first."""
    face = read_texture(picture, landmarks)
    return mouth_colours(face, mouth_slit(face), lid_slits(face))


@pytest.fixture(scope="module")
def closed() -> Picture:
    """A portrait with closed lips."""
    return load_image(AVATARS / "ada.jpg")


@pytest.fixture(scope="module")
def found(closed: Picture) -> Landmarks:
    return steady_landmarks(closed, find_face(closed))


def test_teeth_are_lighter_and_less_red_than_flesh(closed: Picture, found: Landmarks) -> None:
    assert not mouth_slit(read_texture(closed, found)).parted
    colours = read_mouth_colours(closed, found)
    assert colours.tooth @ LUMA > 1.3 * float(colours.inner @ LUMA)
    assert hue(colours.tooth)[0] < hue(colours.inner)[0] - 0.1
    assert colours.cavity @ LUMA < 0.5 * float(colours.inner @ LUMA)


def test_own_teeth_give_the_teeths_colour_though_the_session_shows_closed_lips(
    closed: Picture, found: Landmarks
) -> None:
    smiling = part_lips(closed)
    portrait = prepare_portrait(smiling)
    assert portrait.mouth_colours.tooth == pytest.approx(PAINTED, abs=0.02)
    unseen = read_mouth_colours(closed, found).tooth
    assert np.abs(unseen - PAINTED).max() > 0.04


def test_a_picture_without_colours_has_a_grey_mouth(closed: Picture, found: Landmarks) -> None:
    grey = np.asarray(cv2.merge([cv2.cvtColor(closed, cv2.COLOR_RGB2GRAY)] * 3), np.uint8)
    colours = read_mouth_colours(grey, found)
    for colour in (colours.tooth, colours.gum, colours.tongue, colours.cavity, colours.inner):
        assert np.ptp(colour) < 0.01


def test_a_face_of_one_colour_has_a_mouth_of_it(closed: Picture, found: Landmarks) -> None:
    flat = np.full_like(closed, (180, 130, 100))
    colours = read_mouth_colours(flat, found)
    assert np.isfinite(colours.tooth).all()
    assert np.diff(colours.tooth).max() < 0


def test_a_hue_has_a_brightness_of_one_and_black_has_none() -> None:
    assert hue(np.array([0.5, 0.3, 0.2])) @ np.array(LUMA) == pytest.approx(1)
    assert hue(np.zeros(3)) == pytest.approx([1, 1, 1])
