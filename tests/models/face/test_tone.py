"""Faces of one tone: found, and what is drawn into them takes it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.face.portrait import prepare_portrait
from models.face.tone import find_tone, in_tone

pytestmark = pytest.mark.unit

Picture = NDArray[np.uint8]
TINTS = {"grey": (1.0, 1.0, 1.0), "sepia": (1.05, 0.9, 0.65), "blue": (0.7, 0.9, 1.2)}


def tinted(photo: Picture, tint: str) -> Picture:
    """The photo in one tone, darkened so that no channel is clipped."""
    grey = 0.7 * photo.mean(2, keepdims=True)
    return np.asarray(grey * TINTS[tint], np.uint8)


@pytest.mark.parametrize("tint", TINTS)
def test_a_colour_in_a_face_of_one_tone_takes_it(photo: Picture, tint: str) -> None:
    picture = tinted(photo, tint)
    tone = find_tone(picture)
    assert tone is not None
    kept = in_tone(picture, tone)
    assert np.abs(kept.astype(int) - picture).mean() < 1.2, "the face keeps its own"
    red = np.full((8, 8, 3), (150, 40, 60), np.uint8)
    level = float(red[0, 0] @ (0.299, 0.587, 0.114))
    wanted = np.array(TINTS[tint]) * level / (np.array(TINTS[tint]) @ (0.299, 0.587, 0.114))
    assert np.abs(in_tone(red, tone)[0, 0] - wanted).max() < 4


def test_a_coloured_face_has_no_tone(photo: Picture) -> None:
    assert find_tone(photo) is None
    assert prepare_portrait(photo, 128).tone is None


def test_a_portrait_knows_its_tone(photo: Picture) -> None:
    assert prepare_portrait(tinted(photo, "sepia"), 128).tone is not None
