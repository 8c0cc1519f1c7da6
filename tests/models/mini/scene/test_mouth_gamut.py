"""Colours of a generated mouth: between teeth and flesh inside it, untouched elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.face.landmarks import move_landmarks
from models.face.mouth_colours import MouthColours, hue
from models.face.portrait import Portrait, prepare_portrait
from models.face.texture import LUMA
from models.mini.motion import MOUTH_UNITS
from models.mini.scene.mouth_gamut import MouthGamut

pytestmark = pytest.mark.unit

Picture = NDArray[np.uint8]
REST = np.zeros(len(MOUTH_UNITS), np.float32)
TOOTH, FLESH = np.array([0.8, 0.75, 0.6]), np.array([0.6, 0.3, 0.25])


def units(**values: float) -> NDArray[np.float32]:
    """Mouth units, the others zero."""
    return np.array([values.get(name, 0.0) for name in MOUTH_UNITS], np.float32)


def colours_of(tooth: NDArray[np.floating], flesh: NDArray[np.floating]) -> MouthColours:
    """Those of a mouth; the gamut knows two of them."""
    return MouthColours(tooth, flesh, flesh, flesh, flesh)


@pytest.fixture(scope="module")
def portrait(photo: Picture) -> Portrait:
    return prepare_portrait(photo, 512)


@pytest.fixture(scope="module")
def points(portrait: Portrait) -> NDArray[np.float32]:
    return move_landmarks(portrait.landmarks, portrait.to_window).points


@pytest.fixture(scope="module")
def gamut(points: NDArray[np.float32]) -> MouthGamut:
    return MouthGamut(colours_of(TOOTH, FLESH), points)


def nearest(colour: NDArray[np.floating]) -> NDArray[np.floating]:
    """The limited colour, searched among ten thousand mixtures of its brightness."""
    share = np.linspace(0, 1, 10_001)[:, None]
    mixed = float(colour @ np.array(LUMA)) * (hue(TOOTH) * (1 - share) + hue(FLESH) * share)
    found: NDArray[np.floating] = mixed[np.argmin(np.linalg.norm(mixed - colour, axis=1))]
    return found


def test_a_colour_becomes_the_nearest_mixture_of_its_brightness(gamut: MouthGamut) -> None:
    rng = np.random.default_rng(3)
    given = rng.integers(0, 150, (6, 8, 3), np.uint8)
    limited = gamut.limit_colours(given, np.ones((6, 8), np.float32))
    for before, after in zip(given.reshape(-1, 3), limited.reshape(-1, 3), strict=True):
        expected = nearest(before.astype(float))
        assert np.abs(after - np.clip(expected, 0, 255)).max() <= 0.51


def test_teeth_flesh_and_darkness_stay(gamut: MouthGamut) -> None:
    share = np.linspace(0, 1, 7)
    own = np.stack([light * ((1 - s) * hue(TOOTH) + s * hue(FLESH)) for light in (0, 0.1, 0.4)
                    for s in share])  # fmt: skip
    given = np.round(own * 255).astype(np.uint8)[None]
    limited = gamut.limit_colours(given, np.ones(given.shape[:2], np.float32))
    assert np.abs(limited.astype(int) - given).max() <= 1


def test_a_mouth_of_a_grey_picture_is_grey(points: NDArray[np.float32]) -> None:
    grey = MouthGamut(colours_of(np.full(3, 0.8), np.full(3, 0.4)), points)
    blue = np.full((4, 4, 3), (60, 80, 140), np.uint8)
    limited = grey.limit_colours(blue, np.ones((4, 4), np.float32))
    assert np.ptp(limited, axis=2).max() <= 1
    assert limited[0, 0] @ np.array(LUMA) == pytest.approx(blue[0, 0] @ np.array(LUMA), abs=1)


def test_only_the_mouths_inside_changes_and_has_soft_edges(
    gamut: MouthGamut, points: NDArray[np.float32]
) -> None:
    blue = np.full((256, 256, 3), (40, 60, 160), np.uint8)
    opened = units(jawOpen=0.6)
    change = np.abs(gamut.limit(blue, opened).astype(int) - blue).max(2)
    (left, top), (right, bottom) = (f(points[[61, 291, 13, 14], :2], 0) for f in (np.min, np.max))
    upper, lower = gamut.lips(opened)
    middle = ((upper[5] + lower[5]) / 2).astype(int)
    assert change[middle[1], middle[0]] > 40
    rows, columns = np.nonzero(change)
    assert left - 4 <= columns.min() < columns.max() <= right + 4
    assert top - 6 <= rows.min() < rows.max() <= bottom + 40
    steps = np.abs(np.diff(change[:, middle[0]]))
    assert steps.max() < 0.4 * change.max()


@pytest.mark.parametrize("mouth", [REST, units(mouthClose=0.8), units(mouthPress=1.0)])
def test_closed_lips_keep_every_pixel(
    gamut: MouthGamut, portrait: Portrait, mouth: NDArray[np.float32]
) -> None:
    assert gamut.limit(portrait.window, mouth) is portrait.window


def test_the_limits_fade_in_while_lips_part(gamut: MouthGamut) -> None:
    blue = np.full((256, 256, 3), (40, 60, 160), np.uint8)
    sizes = [
        int(np.abs(gamut.limit(blue, units(jawOpen=jaw)).astype(int) - blue).sum())
        for jaw in np.linspace(0, 0.4, 41)
    ]
    assert sizes[0] == 0
    assert np.diff(sizes).min() > -0.01 * sizes[-1]
    assert np.diff(sizes).max() < 0.1 * sizes[-1]
