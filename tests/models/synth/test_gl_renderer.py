"""Tests how hair is blended: over the head behind it, and never letting the sky through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

pytest.importorskip("moderngl", reason="the renderer needs the extra `synth`")

from models.synth.character import Character, HeadLandmarks, Material  # noqa: E402
from models.synth.gl_renderer import CharacterBuffers, GlRenderer  # noqa: E402

pytestmark = pytest.mark.unit

SIZE = 64
ALPHAS = (255, 204, 102, 0)
"""Of four bands of hair, from below to above."""


@dataclass(frozen=True)
class Card:
    """A rectangle that faces the camera; ``u`` is the column of the texture that it shows."""

    z: float
    width: float
    material: Material
    u: float = 0.25

    @property
    def corners(self) -> list[tuple[float, float, float]]:
        w, z = self.width, self.z
        return [(-w, -1, z), (w, -1, z), (w, 1, z), (-w, 1, z)]


def character(*cards: Card) -> Character:
    rest = np.concatenate([np.array(card.corners, np.float32) for card in cards])
    texture = [(card.u, v) for card in cards for v in (0, 0, 1, 1)]
    starts = 4 * np.arange(len(cards))[:, None, None]
    triangles = (starts + np.array([[0, 1, 2], [0, 2, 3]])).reshape(-1, 3)
    nowhere = np.zeros(3, np.float32)
    return Character(
        rest=rest,
        blendshapes=np.zeros((1, *rest.shape), np.float32),
        triangles=triangles,
        texture=np.array(texture, np.float32),
        material=np.repeat([int(card.material) for card in cards], 4),
        head_rotation_weights=np.ones(len(rest), np.float32),
        normal_accumulator=sparse.csr_matrix((len(rest), len(triangles))),
        weld=np.arange(len(rest)),
        mouth_points=np.zeros(1, np.int64),
        landmarks=HeadLandmarks(nowhere, nowhere, (nowhere, nowhere), nowhere, nowhere, 0.0, 0.0),
    )


@pytest.fixture(scope="module")
def gl(tmp_path_factory: pytest.TempPathFactory) -> GlRenderer:
    masks = tmp_path_factory.mktemp("masks")
    for name in ("lips", "ears", "eyelids", "inside-mouth"):
        cv2.imwrite(str(masks / f"mpfb_{name}.jpg"), np.zeros((16, 16), np.uint8))
    try:
        return GlRenderer(masks, SIZE, photographic=True)
    except RuntimeError as error:
        pytest.skip(f"NOT RUN: {error}")


def draw(gl: GlRenderer, *cards: Card) -> NDArray[np.float64]:
    """RGBA in 0..1, [64, 64, 4], lit from above and below alike, first row uppermost."""
    drawn = character(*cards)
    count = len(drawn.rest)
    hair = np.zeros((64, 4, 2), np.uint8)
    hair[:, :2, 0], hair[:, 2:, 0] = 128, 60  # the root of a quarter of the range, and darker
    hair[..., 1] = np.repeat(ALPHAS, 16)[:, None]
    skin = np.full((4, 4, 4), (255, 128, 128, 0), np.uint8)
    static = np.concatenate(
        [drawn.rest, drawn.texture, np.ones((count, 1)), np.full((count, 4), 0.5)], 1
    )
    buffers = CharacterBuffers(
        gl, drawn, static.astype(np.float32), {Material.HAIR: hair, Material.SKIN: skin}
    )
    up = np.tile(np.array([0, 0, 1], np.float32), (count, 1))
    light: dict[str, Any] = {"sky_rgb": (1.0, 1.0, 1.0), "ground_rgb": (1.0, 1.0, 1.0)}
    dark = {f"{k}_rgb": (0.0, 0.0, 0.0) for k in ("key", "fill", "rim")}
    across = {f"{k}_dir": (0.0, 0.0, 1.0) for k in ("key", "fill", "rim")}
    view = np.diag([1.0, 1.0, -0.1, 1.0])
    uniforms = {
        **light,
        **dark,
        **across,
        "view": view,
        "key_view": view,
        "camera": (0.0, 0.0, 9.0),
        "hair": (0.0, 0.2, 0.0),
        "skin_tint": (0.5, 0.5, 0.5),
        "skin_extent": (1.0, 1.0),
        "skin_origin": (0.0, 0.0),
    }
    picture = gl.draw(buffers, drawn.rest, up, uniforms) / 255.0
    buffers.release()
    return picture


def bands(picture: NDArray[np.float64], column: int) -> NDArray[np.float64]:
    """The four bands of hair, from below to above, [4, 4]."""
    return picture[[SIZE - 8 - 16 * k for k in range(4)], column]


def test_hair_covers_the_sky_by_its_alpha_and_the_head_wholly(gl: GlRenderer) -> None:
    picture = draw(gl, Card(0.0, 0.5, Material.SKIN), Card(1.0, 1.0, Material.HAIR))
    beside, over = bands(picture, 4), bands(picture, SIZE // 2)
    np.testing.assert_allclose(beside[:, 3], (1, 1, 102 / 255, 0), atol=0.02)
    np.testing.assert_allclose(over[:, 3], 1, atol=0.02)
    hair, skin = over[0, :3], over[3, :3]
    assert hair[1] > hair[0] + 0.2
    assert skin[0] > skin[1] + 0.1
    np.testing.assert_allclose(over[1, :3], hair, atol=0.02)
    np.testing.assert_allclose(over[2, :3], 0.4 * hair + 0.6 * skin, atol=0.03)
    np.testing.assert_allclose(beside[2, :3], 0.4 * hair, atol=0.03)


@pytest.mark.parametrize("near_comes_first", [True, False])
def test_the_nearer_of_two_cards_lies_over_the_other(
    gl: GlRenderer, near_comes_first: bool
) -> None:
    skin = Card(0.0, 0.5, Material.SKIN)
    near, far = Card(2.0, 1.0, Material.HAIR, 0.25), Card(1.0, 1.0, Material.HAIR, 0.75)
    picture = draw(gl, *((near, skin, far) if near_comes_first else (far, skin, near)))
    bright, dark = (bands(draw(gl, skin, card), SIZE // 2)[0, :3] for card in (near, far))
    over, beside = bands(picture, SIZE // 2), bands(picture, 4)
    np.testing.assert_allclose(beside[2, 3], 1 - 0.6 * 0.6, atol=0.02)
    np.testing.assert_allclose(over[0, :3], bright, atol=0.02)
    expected = 0.4 * bright + 0.6 * (0.4 * dark + 0.6 * over[3, :3])
    np.testing.assert_allclose(over[2, :3], expected, atol=0.03)
    assert bright[1] > dark[1] + 0.15


def test_hair_behind_the_head_stays_behind(gl: GlRenderer) -> None:
    picture = draw(gl, Card(1.0, 0.5, Material.SKIN), Card(0.0, 1.0, Material.HAIR))
    over = bands(picture, SIZE // 2)
    np.testing.assert_allclose(over, np.tile(over[3], (4, 1)), atol=0.02)
