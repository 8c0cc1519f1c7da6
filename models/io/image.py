"""Decodes a picture file to plain RGB, upright, without trusting it."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from models.errors import PortraitError

MAX_PIXELS = 40_000_000
MIN_SIDE = 64
FORMATS = ("PNG", "JPEG", "WEBP")
_GREY = (128, 128, 128, 255)


def load_image(source: bytes | Path | str) -> NDArray[np.uint8]:
    """Read a PNG, JPEG or WebP picture.

    Args:
        source: the file's content or its path.

    Returns:
        RGB uint8 [H, W, 3], turned as its EXIF orientation says; what is transparent lies on grey;
        of an animation the first picture.

    Raises:
        PortraitError: ``bad_image`` (unreadable or another format), ``image_too_large`` (beyond
            ``MAX_PIXELS``, found before decoding) or ``image_too_small``.
    """
    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check_size(image.size)
            return _rgb(_upright(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large("more") from error
    except (OSError, SyntaxError, ValueError, EOFError, KeyError, OverflowError) as error:
        raise PortraitError(
            f"expected a PNG, JPEG or WebP picture, got a file that cannot be decoded"
            f" ({type(error).__name__}); save the picture again as PNG or JPEG",
            code="bad_image",
        ) from error


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


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow would clip it
        grey = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return np.ascontiguousarray(np.repeat(grey[..., None], 3, axis=2))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _GREY), image)
    return np.array(image.convert("RGB"), np.uint8)
