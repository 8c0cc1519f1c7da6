"""Pictures look as in a viewer that manages colours: profiles, greys, inks, gamma."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from models.io.image import load_image
from tests.support.profiles import (
    SPACES,
    difference,
    grey_profile,
    in_space,
    ink_profile,
    light_of,
    rgb_profile,
)

pytestmark = pytest.mark.unit

SKIN = [
    *((255, 224, 196), (241, 194, 165), (224, 172, 133)),
    *((198, 134, 96), (141, 85, 56), (74, 42, 30)),
]
INVISIBLE = 2.0  # Delta E


def skin() -> NDArray[np.uint8]:
    """Patches of skin, sRGB."""
    row = np.repeat(np.array(SKIN, np.uint8), 32, axis=0)
    return np.repeat(row[None], 64, axis=0)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The picture's file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def in_bytes(colours: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colours in 0..1 as they are stored."""
    return (255 * colours).round().astype(np.uint8)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_skin_in_another_space_looks_the_same(name: str, kind: str) -> None:
    space = SPACES[name]
    stored = Image.fromarray(in_bytes(in_space(skin() / 255, space)))
    options: dict[str, dict[str, object]] = {
        "PNG": {},
        "JPEG": {"quality": 100, "subsampling": 0},
        "WEBP": {"lossless": True},
    }
    shown = load_image(encoded(stored, kind, icc_profile=rgb_profile(space), **options[kind]))
    assert difference(shown, skin()).max() < INVISIBLE
    assert difference(load_image(encoded(stored)), skin()).max() > 5, "off without its profile"


def test_transparency_is_kept_beside_a_profile() -> None:
    space = SPACES["display p3"]
    stored = Image.fromarray(in_bytes(in_space(skin() / 255, space))).convert("RGBA")
    stored.paste((0, 0, 0, 0), (0, 0, 192, 32))
    shown = load_image(encoded(stored, icc_profile=rgb_profile(space)))
    assert np.all(shown[:32] == 128)
    assert difference(shown[32:], skin()[32:]).max() < INVISIBLE


def test_a_palette_has_a_profile_too() -> None:
    space = SPACES["adobe rgb"]
    stored = Image.fromarray(in_bytes(in_space(skin() / 255, space))).quantize(16)
    shown = load_image(encoded(stored, icc_profile=rgb_profile(space)))
    assert difference(shown, skin()).max() < INVISIBLE


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_greys_follow_their_profile(mode: str) -> None:
    wanted = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None], 64, axis=0)
    stored = light_of(wanted / 255) ** (1 / 1.8)
    if mode == "I;16":
        image = Image.fromarray((65535 * stored).round().astype(np.uint16))
    else:
        image = Image.fromarray(in_bytes(stored)).convert(mode)
    shown = load_image(encoded(image, icc_profile=grey_profile(1.8)))
    off = np.abs(shown.astype(int) - wanted[..., None])
    assert off[:, 8:].max() <= 3


def test_inks_follow_their_profile() -> None:
    corners = np.zeros((2, 2, 2, 2, 3))
    corners[..., 0] = 10  # all else is dark
    corners[0, 0, 0, 0] = (100, 0, 0)
    corners[1, 0, 0, 0] = (60, -20, -25)
    corners[0, 1, 0, 0] = (55, 40, -5)
    corners[0, 0, 1, 0] = (90, -3, 50)
    inks = np.zeros((64, 256, 4), np.uint8)
    for k in range(3):
        inks[:, 64 * (k + 1) : 64 * (k + 2), k] = 255
    image = Image.fromarray(inks, "CMYK")
    shown = load_image(encoded(image, "JPEG", quality=100, icc_profile=ink_profile(corners)))
    to_srgb = ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )
    for k, colour in enumerate([(100, 0, 0), (60, -20, -25), (55, 40, -5), (90, -3, 50)]):
        code = bytes([round(colour[0] * 2.55), colour[1] % 256, colour[2] % 256])
        viewer = ImageCms.applyTransform(Image.frombytes("LAB", (1, 1), code), to_srgb)
        assert viewer is not None
        assert difference(shown[32, 64 * k + 32], np.asarray(viewer)[0, 0]) < INVISIBLE
    assert np.abs(shown[32, 96].astype(int) - (0, 255, 255)).max() > 40, "not plain cyan"


def test_a_grey_picture_with_a_profile_of_colours() -> None:
    image = Image.new("L", (80, 80), 120)
    shown = load_image(encoded(image, "JPEG", icc_profile=rgb_profile(SPACES["prophoto"])))
    expected = 255 * (1.055 * ((120 / 255) ** 1.8) ** (1 / 2.4) - 0.055)
    assert np.abs(shown.astype(int) - expected).max() < 3


@pytest.mark.parametrize(
    "profile",
    [b"no profile", b"\0" * 200, grey_profile(2.2), rgb_profile(SPACES["prophoto"])[:180]],
)
def test_a_profile_that_does_not_fit_is_left_out(profile: bytes) -> None:
    shown = load_image(encoded(Image.fromarray(skin()), icc_profile=profile))
    assert np.array_equal(shown, skin())


@pytest.mark.parametrize("gamma", [1.0, 1 / 1.8])
def test_a_png_follows_its_gamma(gamma: float) -> None:
    stored = encoded(Image.fromarray(in_bytes(light_of(skin() / 255) ** gamma)))
    data = b"gAMA" + struct.pack(">I", round(100_000 * gamma))
    chunk = struct.pack(">I", 4) + data + struct.pack(">I", zlib.crc32(data))
    shown = load_image(stored[:33] + chunk + stored[33:])
    assert difference(shown, skin()).max() < INVISIBLE
