"""What cameras do to a portrait: colour, light, softness, grain, compression."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LUMA = np.array([0.3, 0.59, 0.11], np.float32)
SOFT_SHARE, GRAIN_SHARE, JPEG_SHARE = 0.45, 0.35, 0.5
"""How often each happens."""
GREY_SHARE, TONED_SHARE = 0.07, 0.025
"""Pictures without colour; among them toned prints."""


def degrade(picture: NDArray[np.uint8], unit: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The portrait as another camera would have kept it; nothing moves.

    Args:
        picture: RGB uint8 [H, W, 3].
        unit: distance from the centre of the eyes to the mouth, pixels.
        rng: decides what happens, and how much.

    Returns:
        RGB uint8 [H, W, 3].
    """
    values = _colour(np.asarray(picture.astype(np.float32) / 255, np.float32), rng)
    if rng.random() < SOFT_SHARE:
        values = _soften(values, unit, rng)
    if rng.random() < GRAIN_SHARE:
        values = values + _grain(values.shape, rng)
    out = (values.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    if rng.random() < JPEG_SHARE:
        quality = int(rng.uniform(35, 95))
        coded = cv2.imencode(".jpg", out[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        assert decoded is not None
        out = np.ascontiguousarray(decoded[..., ::-1]).astype(np.uint8)
    return out


def _colour(values: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.float32]:
    """Exposure, white balance, contrast, haze and saturation of RGB [H, W, 3] in 0..1."""
    gain = rng.uniform(0.85, 1.15) * rng.uniform(0.92, 1.08, 3)
    gamma = np.exp(rng.uniform(-0.28, 0.28))
    values = np.power(values.clip(0, 1), gamma) * gain.astype(np.float32)
    lift = rng.uniform(-0.02, 0.05)
    values = lift + values * (1 - abs(lift))
    grey = values @ LUMA
    kind = rng.random()
    saturation = rng.uniform(0.6, 1.2)
    if kind < GREY_SHARE:
        saturation = 0.0
    values = grey[..., None] + saturation * (values - grey[..., None])
    if kind < TONED_SHARE:
        values = values * np.array([1.06, 0.99, 0.85], np.float32)
    return np.asarray(values, np.float32)


def _soften(
    values: NDArray[np.float32], unit: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Fewer pixels, or out of focus."""
    height, width = values.shape[:2]
    if rng.random() < 0.5:
        share = min(1.0, float(rng.uniform(28, 90)) / unit)
        size = max(8, round(width * share)), max(8, round(height * share))
        small = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))
    sigma = float(rng.uniform(0.3, 1.6)) * unit / 88
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float32)


def _grain(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise [H, W, 3], grey half of the time, of single pixels or larger."""
    noise = rng.normal(size=shape).astype(np.float32)
    if rng.random() < 0.5:
        noise[...] = noise[..., :1]
    size = float(rng.uniform(0.0, 0.8))
    if size > 0.3:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), size), np.float32)
        noise /= noise.std()
    return noise * np.float32(rng.uniform(0.005, 0.035))
