"""Decoding pictures: formats, orientation, transparency, and files that are none."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.errors import PortraitError
from models.io import image
from models.io.image import DECODED_PIXELS, check_picture, load_image, read_picture

pytestmark = pytest.mark.unit

RED, BLUE = (200, 30, 30), (30, 30, 200)


def two_halves(width: int = 120, height: int = 80) -> Image.Image:
    """Left red, right blue."""
    image = Image.new("RGB", (width, height), BLUE)
    image.paste(RED, (0, 0, width // 2, height))
    return image


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The picture's file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def near(pixel: NDArray[np.uint8], colour: tuple[int, int, int]) -> bool:
    """Whether two colours are alike, JPEG losses aside."""
    return bool(np.abs(pixel.astype(int) - colour).max() < 12)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "HEIF"])
def test_formats_give_the_same_picture(kind: str) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()  # it writes them
    picture = load_image(encoded(two_halves(), kind))
    assert picture.shape == (80, 120, 3)
    assert picture.dtype == np.uint8
    assert near(picture[40, 10], RED)
    assert near(picture[40, 110], BLUE)


def test_a_path_is_read(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    two_halves().save(path)
    assert np.array_equal(load_image(path), np.asarray(two_halves()))
    assert np.array_equal(load_image(str(path)), np.asarray(two_halves()))


def test_orientation_is_honoured() -> None:
    """Orientation 6: the camera was turned, the first row is the right side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = load_image(encoded(two_halves(), "JPEG", exif=exif))
    assert picture.shape == (120, 80, 3)
    assert near(picture[10, 40], RED)
    assert near(picture[110, 40], BLUE)


def test_a_broken_exif_leaves_the_picture_as_it_is() -> None:
    whole = encoded(two_halves())
    chunk = b"eXIf" + b"II*\0"  # cut off after four bytes
    broken = struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    end_of_header = 8 + 25
    picture = load_image(whole[:end_of_header] + broken + whole[end_of_header:])
    assert np.array_equal(picture, np.asarray(two_halves()))


def test_transparency_lies_on_grey() -> None:
    image = two_halves().convert("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    assert np.array_equal(np.unique(load_image(encoded(image))), [128])


def test_palette_transparency_lies_on_grey() -> None:
    image = two_halves().convert("P")
    first = image.getpixel((0, 0))
    picture = load_image(encoded(image, transparency=first))
    assert near(picture[40, 10], (128, 128, 128))
    assert picture[40, 110].argmax() == 2


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P", "CMYK", "I;16"])
def test_other_colour_modes_become_rgb(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.full((80, 120), 200 << 8, np.uint16))
    else:
        image = Image.new("L", (120, 80), 200).convert("RGB").convert(mode)
    picture = load_image(encoded(image, "JPEG" if mode == "CMYK" else "PNG"))
    assert picture.shape == (80, 120, 3)
    assert 128 < picture.mean() <= 255


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no picture at all",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"\xff\xd8\xff\xe0" + bytes(200),
        encoded(two_halves())[:120],
        encoded(two_halves(400, 400), "JPEG")[:700],
        encoded(two_halves(), "GIF"),
    ],
)
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    with pytest.raises(PortraitError, match="PNG, JPEG, WebP, AVIF or HEIC") as caught:
        load_image(content)
    assert caught.value.code == "bad_image"


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PortraitError) as caught:
        load_image(tmp_path / "absent.png")
    assert caught.value.code == "bad_image"


def huge_png(width: int, height: int) -> bytes:
    """A few bytes that announce a gigantic picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("side", [11_000, 15_000, 60_000])
def test_decode_bombs_are_refused_before_decoding(side: int) -> None:
    with pytest.raises(PortraitError, match="million pixels") as caught:
        load_image(huge_png(side, side))
    assert caught.value.code == "image_too_large"


@pytest.mark.parametrize("size", [(63, 300), (300, 63), (1, 1)])
def test_small_pictures_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(PortraitError, match="at least 64x64") as caught:
        load_image(encoded(two_halves(*size)))
    assert caught.value.code == "image_too_small"


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((100, 100), np.uint8),
        np.zeros((100, 100, 4), np.uint8),
        np.zeros((100, 100, 3), np.float32),
    ],
)
def test_arrays_that_are_not_rgb_are_refused(picture: NDArray[np.uint8]) -> None:
    with pytest.raises(PortraitError) as caught:
        check_picture(picture)
    assert caught.value.code == "bad_image"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_a_large_picture_is_decoded_smaller(
    monkeypatch: pytest.MonkeyPatch, kind: str, mode: str
) -> None:
    monkeypatch.setattr(image, "DECODED_PIXELS", 20_000)
    if mode == "P" and kind == "JPEG":
        mode = "CMYK"
    picture = read_picture(encoded(two_halves(601, 400).convert(mode), kind))
    assert picture.pixels.shape in ((100, 151, 3), (100, 150, 3))
    assert picture.reduction == pytest.approx(4, rel=0.02)
    assert picture.pixels[50, 10].tolist() != picture.pixels[50, 140].tolist()
    assert picture.box((300, 200, 100, 40)) == pytest.approx((75, 50, 25, 10), rel=0.02)
    assert picture.box((0.5, 0.5, 0.25, 1)) == (0.5, 0.5, 0.25, 1)
    assert picture.box(None) is None


def test_a_turned_large_picture_is_upright(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "DECODED_PIXELS", 20_000)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = read_picture(encoded(two_halves(600, 400), "JPEG", exif=exif))
    assert picture.pixels.shape == (150, 100, 3) and picture.reduction == 4
    assert near(picture.pixels[10, 50], RED) and near(picture.pixels[140, 50], BLUE)


def test_a_telephones_largest_photo_is_read() -> None:
    photo = encoded(Image.new("RGB", (12_000, 9_000), RED), "JPEG", quality=50)
    picture = read_picture(photo)
    assert picture.pixels.shape == (2250, 3000, 3) and picture.reduction == 4
    assert DECODED_PIXELS >= 2250 * 3000
    assert near(picture.pixels[1000, 1500], RED)
