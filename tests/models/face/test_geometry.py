"""Cut-outs: points and pixels move together, without aliasing, with the right borders."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.face.geometry import cut, fit_similarity, square_around

pytestmark = pytest.mark.unit


def spot(size: int, x: float, y: float, radius: float) -> NDArray[np.uint8]:
    """A white disc on black; x and y are continuous pixels."""
    rows, columns = np.mgrid[:size, :size] + 0.5
    inside = np.hypot(columns - x, rows - y) < radius
    return np.repeat(255 * inside[..., None].astype(np.uint8), 3, 2)


def centre_of(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Centre of brightness, continuous pixels (x, y)."""
    light = picture[..., 0].astype(np.float64)
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]] + 0.5
    place: NDArray[np.float64] = np.array([(columns * light).sum(), (rows * light).sum()])
    return place / float(light.sum())


@pytest.mark.parametrize("side", [40.0, 128.0, 300.0, 900.0])
@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_points_land_where_pixels_land(side: float, angle: float) -> None:
    picture = spot(800, 410.0, 380.0, side / 12)
    square = square_around(np.array([400.0, 390.0]), side, angle, 128)
    found = centre_of(cut(picture, square, 128))
    assert np.allclose(found, square.apply(np.array([410.0, 380.0])), atol=0.3)


def test_there_and_back_again() -> None:
    square = square_around(np.array([30.0, 70.0]), 55.0, 0.7, 96)
    points = np.array([[1.0, 2.0], [50.0, -3.0]])
    assert np.allclose(square.inverse().apply(square.apply(points)), points)
    assert square.scale == pytest.approx(96 / 55)


def test_one_after_the_other() -> None:
    first = square_around(np.array([30.0, 70.0]), 55.0, 0.7, 96)
    second = square_around(np.array([40.0, 20.0]), 80.0, -0.2, 128)
    points = np.array([[1.0, 2.0], [50.0, -3.0]])
    both = first.then(second)
    assert np.allclose(both.apply(points), second.apply(first.apply(points)))
    assert both.scale == pytest.approx(first.scale * second.scale)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_similarity_is_found_and_never_a_reflection(dimensions: int) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20, dimensions))
    turn = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0]
    turn[:, 0] *= np.sign(np.linalg.det(turn))
    shift = rng.normal(size=dimensions)
    found = fit_similarity(points, 0.9 * points @ turn.T + shift)
    expected = np.array(0.9), turn, shift
    for value, right in zip(map(np.asarray, found), expected, strict=True):
        np.testing.assert_allclose(value, right, atol=1e-9)
    mirrored = points * np.append(np.ones(dimensions - 1), -1.0)
    assert np.linalg.det(fit_similarity(points, mirrored)[1]) == pytest.approx(1)


def test_the_whole_is_unchanged() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(
        cut(picture, square_around(np.array([32.0, 32.0]), 64, 0, 64), 64), picture
    )


def test_fine_patterns_do_not_alias() -> None:
    stripes = np.zeros((1000, 1000, 3), np.uint8)
    stripes[:, ::2] = 255
    small = cut(stripes, square_around(np.array([500.0, 500.0]), 1000, 0, 90), 90)
    assert small.std() < 12


def test_borders() -> None:
    white = np.full((50, 50, 3), 255, np.uint8)
    square = square_around(np.array([25.0, 25.0]), 100, 0, 100)
    assert cut(white, square, 100, "edge").min() == 255
    assert cut(white, square, 100)[0, 0, 0] == 0
    beyond = square_around(np.array([500.0, 500.0]), 100, 0, 20)
    assert cut(white, beyond, 20, "edge").min() == 255
    assert cut(white, beyond, 20).max() == 0
