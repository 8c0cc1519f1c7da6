"""Lighting and background from environment maps, scaled so that every face is lit alike."""

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
"""Light on a surface that faces the camera, whatever the environment."""


@dataclass(frozen=True)
class Lighting:
    """Directions and linear RGB of key, fill and rim light, and ambient from above and below."""

    key_dir: Rgb
    key_rgb: Rgb
    fill_dir: Rgb
    fill_rgb: Rgb
    rim_dir: Rgb
    rim_rgb: Rgb
    sky_rgb: Rgb
    ground_rgb: Rgb


def to_rgb(values: NDArray[np.floating[Any]]) -> Rgb:
    return float(values[0]), float(values[1]), float(values[2])


@lru_cache(maxsize=8)
def _read_map(path: Path) -> Floats:
    with OpenEXR.File(str(path)) as file:
        image: Floats = np.ascontiguousarray(file.channels()["RGB"].pixels, np.float32)
    return image


def read_lighting(path: Path, turn: float, sharpness: float, size: int) -> tuple[Lighting, Floats]:
    """Lighting and background from an environment map.

    Args:
        path: of the map, OpenEXR.
        turn: share of a full turn about the vertical axis.
        sharpness: of the background, picture width over blur radius.
        size: of the background, pixels.

    Returns:
        The lighting, and the background behind the head in display values 0..1, float32
        [size, size, 3].
    """
    image = np.roll(_read_map(path), int(turn * _read_map(path).shape[1]), 1)
    height, width = image.shape[:2]
    polar = (np.arange(height) + 0.5) / height * np.pi
    azimuth = (np.arange(width) + 0.5) / width * 2 * np.pi
    sine = np.sin(polar)[:, None]
    directions = np.stack(
        [
            -sine * np.sin(azimuth)[None],
            np.repeat(np.cos(polar)[:, None], width, 1),
            sine * np.cos(azimuth)[None],
        ],
        -1,
    )
    lighting = _estimate_lights(np.minimum(image, 12.0), directions, sine * np.ones(width))
    return lighting, _background(image, sharpness, size)


def _estimate_lights(
    image: Floats, directions: NDArray[np.float64], solid_angle: NDArray[np.float64]
) -> Lighting:
    """Lights from an environment map [H, W, 3] with its directions and the weight of each pixel."""

    def mean(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        weight = solid_angle * mask
        total: NDArray[np.float64] = (image * weight[..., None]).sum((0, 1)) / weight.sum()
        return total

    sky, ground = mean(directions[..., 1] > 0), mean(directions[..., 1] < 0)
    in_front = directions[..., 2] > -0.2
    bright = cv2.GaussianBlur(image.mean(-1) * solid_angle * in_front, (0, 0), 21)
    row, column = np.unravel_index(int(bright.argmax()), bright.shape)
    key = directions[row, column] + np.array([0.0, 0.30, 0.55])
    key /= np.linalg.norm(key)
    key_rgb = _tinted(mean(directions @ key > 0.8), 0.55)
    rim_rgb = _tinted(mean(directions[..., 2] < -0.5), 0.35)
    sky_rgb, ground_rgb = _tinted(sky, 0.36), _tinted(ground, 0.22)
    fill_rgb = 0.30 * sky_rgb / 0.36
    side = 1.0 if key[0] >= 0 else -1.0
    fill = np.array([-key[0] - 0.2 * side, 0.1, 0.8])
    fill /= np.linalg.norm(fill)
    rim = np.array([-0.6 * side, 0.5, -0.9])
    face = key_rgb.mean() * (key[2] + 0.3) / 1.3 + fill_rgb.mean() * (fill[2] + 0.3) / 1.3
    gain = _FACE_LIGHT / (face + 0.5 * (sky_rgb + ground_rgb).mean())
    return Lighting(
        key_dir=to_rgb(key),
        key_rgb=to_rgb(key_rgb * gain),
        fill_dir=to_rgb(fill),
        fill_rgb=to_rgb(fill_rgb * gain),
        rim_dir=to_rgb(rim / np.linalg.norm(rim)),
        rim_rgb=to_rgb(rim_rgb * gain),
        sky_rgb=to_rgb(sky_rgb * gain),
        ground_rgb=to_rgb(ground_rgb * gain),
    )


def _tinted(colour: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """The colour at brightness ``level``, 55 % desaturated."""
    tint = colour / max(float(colour.mean()), 1e-6)
    out: NDArray[np.float64] = level * (0.45 * tint + 0.55)
    return out


def _background(image: Floats, sharpness: float, size: int) -> Floats:
    height, width = image.shape[:2]
    focal = 0.55 * size
    rows, columns = np.mgrid[0:size, 0:size]
    x, y = (columns - size / 2) / focal * 0.5, -(rows - 0.46 * size) / focal * 0.5
    ray = np.stack([x, y, -np.ones((size, size))], -1)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    polar = np.arccos(ray[..., 1])
    azimuth = np.mod(np.arctan2(-ray[..., 0], ray[..., 2]), 2 * np.pi)
    blurred = cv2.GaussianBlur(np.minimum(image, 6.0), (0, 0), width / sharpness)
    blurred = np.concatenate([blurred, blurred[:, :2]], 1).astype(np.float32)
    map_x = (azimuth / 2 / np.pi * width).astype("f4")
    map_y = (polar / np.pi * height).astype("f4")
    linear: Floats = np.asarray(cv2.remap(blurred, map_x, map_y, cv2.INTER_LINEAR), np.float32)
    grey = linear.mean(-1)
    gain = min(0.28 / float(np.median(grey) + 1e-3), 0.75 / float(np.quantile(grey, 0.95) + 1e-3))
    linear = linear * np.float32(gain)
    tonemapped = linear * (2.51 * linear + 0.03) / (linear * (2.43 * linear + 0.59) + 0.14)
    out: Floats = (np.clip(tonemapped, 0.0, 1.0) ** (1 / 2.2)).astype(np.float32)
    return out
