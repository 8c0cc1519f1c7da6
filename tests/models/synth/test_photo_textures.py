"""Tests photographs on heads: which texture they cover, skin that fades at the neck, strands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.synth.assets import AssetsError
from models.synth.mesh import Mesh
from models.synth.photo_textures import STRAND_RANGE, make_strands, read_skin_boxes
from models.synth.skin_photo import find_head_area, fit_skin

pytestmark = pytest.mark.unit

SIDE = 400
BOX = (200, 100, 400, 300)
SKIN, PAPER = (200, 150, 120), (255, 255, 255)


def quads(corners: list[tuple[float, float, float, float]], heights: list[float]) -> Mesh:
    """Rectangles (left, bottom, right, top) of the texture, each with points at one height."""
    texture = [
        (x, y) for a, b, c, d in corners for x, y in ((a, b), (c, b), (c, d), (a, d))
    ]  # each its own four corners
    faces = np.arange(len(texture)).reshape(-1, 4)
    points = np.zeros((len(texture), 3), np.float32)
    points[:, :2] = texture
    points[:, 1] += np.repeat(heights, 4)
    return Mesh(
        points, np.array(texture, np.float32), faces, faces, np.array(["body"] * len(corners))
    )


def test_reads_which_box_each_skin_covers(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    entries = [
        {"file": "a.png", "kind": "skin", "crop_of_2048": [1, 2, 3, 4]},
        {"file": "b.png", "kind": "other", "resized_to": 512},
    ]
    path.write_text(json.dumps(entries))
    assert read_skin_boxes(path) == {"a.png": (1, 2, 3, 4)}


@pytest.mark.parametrize(
    "content",
    ["", "{}x", '[{"file": "a"}]', '[{"file": "a", "kind": "skin", "crop_of_2048": [1]}]', "[3]"],
)
def test_refuses_other_manifests_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(content)
    with pytest.raises(AssetsError, match="crop_of_2048") as caught:
        read_skin_boxes(path)
    assert "\n" not in str(caught.value)


def test_skin_ends_at_the_neck_and_shows_nothing_beside_the_head() -> None:
    head, body = (0.55, 0.3, 0.95, 0.7), (0.0, 0.0, 0.3, 0.3)
    mesh = quads([body, head], [0.0, 6.3])
    area = find_head_area(mesh, np.ones(2, bool))
    assert area.faces.shape == (1, 4, 2)
    assert len(area.neck) == 1  # the lowest edge alone lies below the head's other borders
    photo = np.full((200, 200, 3), SKIN, np.uint8)
    photo[:15, :15] = photo[-15:, -15:] = PAPER  # beside the head
    skin = fit_skin(photo, BOX, SIDE, area)
    upright = skin.picture[::-1, :, :3].astype(int)
    assert np.abs(upright[100, 100] - SKIN).max() <= 3
    assert np.abs(upright[:18] - SKIN).max() <= 6
    assert np.abs(upright[182:] - SKIN).max() <= 6
    share = area.share(BOX, SIDE)
    assert share[178, 100] < 0.02
    assert share[100, 100] == 1
    assert share[10, 100] == 0
    assert (skin.origin, skin.extent) == ((0.5, 0.25), (0.5, 0.5))
    np.testing.assert_allclose(skin.mean, (np.array(SKIN) / 255) ** 2.2, rtol=1e-3)


def test_refuses_a_skin_of_another_size() -> None:
    area = find_head_area(quads([(0.5, 0.3, 0.9, 0.7)], [6.0]), np.ones(1, bool))
    with pytest.raises(ValueError, match=r"expected a skin of shape \(200, 200, 3\)"):
        fit_skin(np.zeros((10, 10, 3), np.uint8), BOX, SIDE, area)


def test_strands_keep_their_alpha_and_lose_their_colour() -> None:
    rng = np.random.default_rng(0)
    picture = np.zeros((64, 64, 4), np.uint8)
    picture[8:56, 8:56, :3] = rng.integers(30, 90, (1, 48, 1))  # on black, as photographs are
    picture[8:56, 8:56, 3] = 255
    mesh = quads([(8 / 64, 8 / 64, 56 / 64, 56 / 64)], [0.0])
    strands = make_strands(picture, mesh)
    np.testing.assert_array_equal(strands[..., 1], picture[..., 3])
    brightness = (strands[..., 0] / 255.0) ** 2 * STRAND_RANGE
    assert brightness[12:52, 12:52].mean() == pytest.approx(1.0, abs=0.05)
    assert brightness[12:52, 12:52].std() > 0.2
    assert brightness.min() > 0.9 * brightness[12:52, 12:52].min()  # no black from beside them
    bright = make_strands(np.minimum(picture * np.uint8(2), 255).astype(np.uint8), mesh)
    np.testing.assert_allclose(bright[..., 0].astype(int), strands[..., 0], atol=6)


def test_a_picture_without_hair_gives_plain_strands() -> None:
    strands = make_strands(np.zeros((8, 8, 4), np.uint8), quads([(0, 0, 1, 1)], [0.0]))
    np.testing.assert_allclose((strands[..., 0] / 255.0) ** 2 * STRAND_RANGE, 1.0, atol=0.02)
