"""Light and background from environment maps, scaled so that faces are lit alike everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenEXR
from numpy.typing import NDArray

from models.synth.mesh import Floats

Rgb = tuple[float, float, float]
_FACE_LIGHT = 1.05
"""Light that falls on a surface facing the camera, whatever the environment."""


@dataclass(frozen=True)
class Light:
    """Directions [3] and colours [3] of the lamps, and the ambient from above and below."""

    key_dir: Rgb
    key_rgb: Rgb
    fill_dir: Rgb
    fill_rgb: Rgb
    rim_dir: Rgb
    rim_rgb: Rgb
    sky_rgb: Rgb
    ground_rgb: Rgb


def rgb(values: NDArray[np.floating[Any]]) -> Rgb:
    """Three numbers as a tuple."""
    return float(values[0]), float(values[1]), float(values[2])


@lru_cache(maxsize=8)
def _read_map(path: Path) -> Floats:
    with OpenEXR.File(str(path)) as file:
        picture: Floats = np.ascontiguousarray(file.channels()["RGB"].pixels, np.float32)
    return picture


def read_light(path: Path, turn: float, blur: float, size: int) -> tuple[Light, Floats]:
    """Light and background from an environment map.

    Args:
        path: the map; turn: share of a full turn about the vertical axis.
        blur: larger is sharper (picture width over blur radius).
        size: of the background, pixels.

    Returns:
        The lamps, scaled so that a face is lit equally everywhere; and the background behind the
        head as display values 0..1, float32 [size, size, 3].
    """
    image = np.roll(_read_map(path), int(turn * _read_map(path).shape[1]), 1)
    height, width = image.shape[:2]
    across = (np.arange(height) + 0.5) / height * np.pi
    along = (np.arange(width) + 0.5) / width * 2 * np.pi
    lift = np.sin(across)[:, None]
    towards = np.stack(
        [
            -lift * np.sin(along)[None],
            np.repeat(np.cos(across)[:, None], width, 1),
            lift * np.cos(along)[None],
        ],
        -1,
    )
    light = _lamps(np.minimum(image, 12.0), towards, lift * np.ones(width))
    return light, _background(image, blur, size)


def _lamps(image: Floats, towards: NDArray[np.float64], area: NDArray[np.float64]) -> Light:
    def mean(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        weight = area * mask
        total: NDArray[np.float64] = (image * weight[..., None]).sum((0, 1)) / weight.sum()
        return total

    sky, ground = mean(towards[..., 1] > 0), mean(towards[..., 1] < 0)
    bright = cv2.GaussianBlur(image.mean(-1) * area * (towards[..., 2] > -0.2), (0, 0), 21)
    row, column = np.unravel_index(int(bright.argmax()), bright.shape)
    key = towards[row, column] + np.array([0.0, 0.30, 0.55])
    key /= np.linalg.norm(key)
    key_rgb = _tinted(mean(towards @ key > 0.8), 0.55)
    rim_rgb = _tinted(mean(towards[..., 2] < -0.5), 0.35)
    sky_rgb, ground_rgb = _tinted(sky, 0.36), _tinted(ground, 0.22)
    fill_rgb = 0.30 * sky_rgb / 0.36
    side = 1.0 if key[0] >= 0 else -1.0
    fill = np.array([-key[0] - 0.2 * side, 0.1, 0.8])
    fill /= np.linalg.norm(fill)
    rim = np.array([-0.6 * side, 0.5, -0.9])
    face = key_rgb.mean() * (key[2] + 0.3) / 1.3 + fill_rgb.mean() * (fill[2] + 0.3) / 1.3
    gain = _FACE_LIGHT / (face + 0.5 * (sky_rgb + ground_rgb).mean())
    return Light(
        key_dir=rgb(key),
        key_rgb=rgb(key_rgb * gain),
        fill_dir=rgb(fill),
        fill_rgb=rgb(fill_rgb * gain),
        rim_dir=rgb(rim / np.linalg.norm(rim)),
        rim_rgb=rgb(rim_rgb * gain),
        sky_rgb=rgb(sky_rgb * gain),
        ground_rgb=rgb(ground_rgb * gain),
    )


def _tinted(colour: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """The colour at a given brightness, rather more than half-way to grey."""
    tint = colour / max(float(colour.mean()), 1e-6)
    out: NDArray[np.float64] = level * (0.45 * tint + 0.55)
    return out


def _background(image: Floats, blur: float, size: int) -> Floats:
    height, width = image.shape[:2]
    focal = 0.55 * size
    rows, columns = np.mgrid[0:size, 0:size]
    x, y = (columns - size / 2) / focal * 0.5, -(rows - 0.46 * size) / focal * 0.5
    ray = np.stack([x, y, -np.ones((size, size))], -1)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    across = np.arccos(ray[..., 1])
    along = np.mod(np.arctan2(-ray[..., 0], ray[..., 2]), 2 * np.pi)
    soft = cv2.GaussianBlur(np.minimum(image, 6.0), (0, 0), width / blur)
    soft = np.concatenate([soft, soft[:, :2]], 1).astype(np.float32)
    at = (along / 2 / np.pi * width).astype("f4"), (across / np.pi * height).astype("f4")
    picked: Floats = np.asarray(
        cv2.remap(soft, at[0], at[1], cv2.INTER_LINEAR),
        np.float32,
    )
    grey = picked.mean(-1)
    gain = min(0.28 / float(np.median(grey) + 1e-3), 0.75 / float(np.quantile(grey, 0.95) + 1e-3))
    picked = picked * np.float32(gain)
    shown = picked * (2.51 * picked + 0.03) / (picked * (2.43 * picked + 0.59) + 0.14)
    out: Floats = (np.clip(shown, 0.0, 1.0) ** (1 / 2.2)).astype(np.float32)
    return out
