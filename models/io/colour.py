"""Brings a decoded picture into sRGB, as viewers that manage colours show it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageCms

_GREY = (128, 128, 128, 255)
_MODE_OF_SPACE = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_USUAL_GAMMA = 1 / 2.2
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def plain(image: Image.Image) -> Image.Image:
    """The same picture in a mode of whole bytes without a palette: L, LA, RGB, RGBA or CMYK."""
    if image.mode.startswith("I"):  # 16-bit grey; Pillow would clip it
        values = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        grey = Image.fromarray(values)
        grey.info = {name: image.info[name] for name in image.info if name != "transparency"}
        return grey
    if image.has_transparency_data and image.mode not in ("LA", "RGBA"):
        return image.convert("RGBA")
    if image.mode not in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return image.convert("L" if image.mode == "1" else "RGB")
    return image


def to_srgb(image: Image.Image) -> Image.Image:
    """RGB of a ``plain`` picture; what is transparent lies on grey.

    An embedded profile is applied as it asks for, else a PNG's gamma. A profile that is damaged, or
    of other channels than the picture's, is left out, as viewers do.
    """
    colours = image.convert(image.mode[:-1]) if image.mode in ("LA", "RGBA") else image
    shown = _by_profile(colours, image.info.get("icc_profile"))
    if shown is None:
        shown = _by_gamma(colours.convert("RGB"), image.info)
    if image.mode not in ("LA", "RGBA"):
        return shown
    shown.putalpha(image.getchannel("A"))
    return Image.alpha_composite(Image.new("RGBA", shown.size, _GREY), shown).convert("RGB")


def _by_profile(image: Image.Image, profile: bytes | None) -> Image.Image | None:
    if not profile:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        wanted = _MODE_OF_SPACE.get(source.profile.xcolor_space.strip())
        if image.mode == "L" and wanted == "RGB":
            image = image.convert("RGB")
        if image.mode != wanted:
            return None
        return ImageCms.profileToProfile(
            image,
            source,
            _SRGB,
            renderingIntent=ImageCms.Intent(ImageCms.getDefaultIntent(source)),
            outputMode="RGB",
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _by_gamma(image: Image.Image, info: dict[str | tuple[int, int], Any]) -> Image.Image:
    gamma = info.get("gamma")
    if not gamma or "srgb" in info or abs(gamma - _USUAL_GAMMA) < 0.05:
        return image
    light = (np.arange(256) / 255) ** (1 / gamma)
    levels = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return image.point((255 * levels).round().astype(int).tolist() * 3)
