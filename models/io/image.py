"""Decodes a picture file to sRGB, upright and not larger than useful, without trusting it."""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from models.errors import PortraitError
from models.io.colour import plain, to_srgb
from models.io.face_box import FaceBox

MAX_PIXELS = 120_000_000
DECODED_PIXELS = 16_000_000
"""Pictures beyond it are decoded at a half or a quarter of their size."""
MIN_SIDE = 64
FORMATS = ["PNG", "JPEG", "WEBP", "AVIF"]
with suppress(ImportError):  # an installation without its wheel refuses HEIC
    from pi_heif import register_heif_opener

    register_heif_opener()
    FORMATS.append("HEIF")
Image.MAX_IMAGE_PIXELS = MAX_PIXELS


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Attributes:
        pixels: RGB uint8 [H, W, 3], sRGB.
        reduction: how many pixels of the file one of these is wide.
    """

    pixels: NDArray[np.uint8]
    reduction: float = 1.0

    def box(self, box: FaceBox | None) -> FaceBox | None:
        """A box in pixels of the file in pixels of this; shares stay shares."""
        if box is None or max(box) <= 1:
            return box
        left, top, width, height = (side / self.reduction for side in box)
        return left, top, width, height


_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, KeyError, OverflowError, RuntimeError)


def load_image(source: bytes | Path | str) -> NDArray[np.uint8]:
    """The pixels of ``read_picture``, RGB uint8 [H, W, 3]; raises as it does."""
    return read_picture(source).pixels


def read_picture(source: bytes | Path | str) -> Picture:
    """Read a PNG, JPEG, WebP, AVIF or HEIC picture.

    Args:
        source: the file's content or its path.

    Returns:
        The picture, turned as its EXIF orientation says; what is transparent lies on grey; of an
        animation the first picture.

    Raises:
        PortraitError: ``bad_image`` (unreadable or another format), ``image_too_large`` (beyond
            ``MAX_PIXELS``, found before decoding) or ``image_too_small``.
    """
    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check_size(image.size)
            width = max(image.size)
            pixels = np.array(to_srgb(_upright(_reduced(image))), np.uint8)
            return Picture(pixels, width / max(pixels.shape))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large("more") from error
    except _UNREADABLE as error:
        raise PortraitError(
            f"expected a PNG, JPEG, WebP, AVIF or HEIC picture, got a file that cannot be decoded"
            f" ({type(error).__name__}); save the picture again as PNG or JPEG",
            code="bad_image",
        ) from error


def _reduced(image: Image.Image) -> Image.Image:
    """Decoded with at most ``DECODED_PIXELS``; JPEG is never decoded at its full size."""
    reduction, pixels = 1, image.width * image.height
    while pixels / reduction**2 > DECODED_PIXELS:
        reduction *= 2
    wanted = -(-image.width // reduction)
    image.draft(image.mode, (image.width // reduction, image.height // reduction))
    image = plain(image)
    rest = round(image.width / wanted)
    return image.reduce(rest) if rest > 1 else image


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says; as it is where that cannot be read."""
    try:
        return ImageOps.exif_transpose(image)
    except struct.error:  # Pillow's reader of EXIF lets this one through
        return image


def check_picture(picture: NDArray[np.uint8]) -> None:
    """Refuse what is not RGB uint8 [H, W, 3] or is smaller than ``MIN_SIDE``.

    Raises:
        PortraitError: ``bad_image``, ``image_too_small`` or ``image_too_large``.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise PortraitError(
            f"expected RGB uint8 [H, W, 3], got {picture.dtype} {list(picture.shape)};"
            " read the file with load_image",
            code="bad_image",
        )
    _check_size((picture.shape[1], picture.shape[0]))


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise _too_large(f"{width}x{height}")
    if min(size) < MIN_SIDE:
        raise PortraitError(
            f"expected a picture of at least {MIN_SIDE}x{MIN_SIDE} pixels, got {width}x{height};"
            " send a larger one",
            code="image_too_small",
        )


def _too_large(got: str) -> PortraitError:
    return PortraitError(
        f"expected at most {MAX_PIXELS // 10**6} million pixels, got {got};"
        " send a smaller picture (1024 pixels are plenty)",
        code="image_too_large",
    )
