"""Draws looks: colours, hair, clothes, light, background and framing of an identity."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
from numpy.typing import NDArray

from models.training.synth.figure import Outfit
from models.training.synth.head import Person
from models.training.synth.mesh import Floats

Rgb = tuple[float, float, float]
HAIR_FEMALE = ("long01", "braid01", "long01", "braid01", "ponytail01")
HAIR_MALE = ("short01", "short02", "short04")
BROWS_FEMALE = ("eyebrow001", "eyebrow002", "eyebrow004", "eyebrow010")
BROWS_MALE = ("eyebrow001", "eyebrow003", "eyebrow004", "eyebrow010")
CLOTHS: tuple[Rgb, ...] = (
    (0.03, 0.03, 0.04),
    (0.05, 0.08, 0.16),
    (0.36, 0.35, 0.34),
    (0.20, 0.05, 0.05),
    (0.06, 0.12, 0.09),
    (0.16, 0.12, 0.08),
    (0.10, 0.20, 0.26),
    (0.24, 0.16, 0.26),
)
_HAIR_DARK: tuple[Rgb, ...] = ((0.014, 0.011, 0.010), (0.022, 0.014, 0.010))
_HAIR_LIGHT: tuple[Rgb, ...] = (
    (0.11, 0.06, 0.028),
    (0.28, 0.18, 0.08),
    (0.045, 0.025, 0.014),
    (0.15, 0.055, 0.022),
)
_IRIS_DARK: tuple[Rgb, ...] = ((0.07, 0.035, 0.015), (0.05, 0.025, 0.012))
_IRIS_LIGHT: tuple[Rgb, ...] = ((0.11, 0.17, 0.23), (0.09, 0.12, 0.07), (0.11, 0.065, 0.03))
_PALE = np.array([0.60, 0.395, 0.305])
_DEEP = np.array([0.165, 0.085, 0.050])
_MELANIN = (0.80, 0.30, 0.12)
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


@dataclass(frozen=True)
class Look:
    """Everything about an identity besides what moves.

    Attributes:
        lashes: how dark the lashes are, 0..1.
        skin, lips, hair, iris, cloth: linear colours.
        blush, stubble: 0..1; seed: shifts the noise, 0..1.
        camera_yaw, camera_pitch: where the camera stands, radians.
        shift: offset of the picture, shares of its height (right, up).
    """

    person: Person
    outfit: Outfit
    skin: Rgb
    lips: Rgb
    hair: Rgb
    iris: Rgb
    cloth: Rgb
    blush: float
    stubble: float
    lashes: float
    seed: float
    light: Light
    environment: str
    turn: float
    blur: float
    camera_yaw: float
    camera_pitch: float
    shift: tuple[float, float]


def draw_look(identity: int, lights: Path) -> Look:
    """The look of identity number ``identity``: gender alternates, peoples and lights rotate.

    Args:
        identity: any number from 0; even ones are women.
        lights: folder of environment maps (.exr).
    """
    rng = np.random.default_rng([identity, 2024])
    female = identity % 2 == 0
    group = (identity // 2 + 2 - identity % 2) % 3
    peoples = np.eye(3)[group] * 0.68 + rng.dirichlet([2.0] * 3) * 0.32
    age = float((0.04, 0.14, 0.30, 0.50)[rng.choice(4, p=(0.35, 0.35, 0.2, 0.1))])
    person = Person(
        seed=identity,
        gender=0.0 if female else 0.93,
        age=age,
        peoples=(float(peoples[0]), float(peoples[1]), float(peoples[2])),
    )
    melanin = float(np.clip(_MELANIN[group] + 0.10 * rng.standard_normal(), 0.0, 0.95))
    skin = _PALE ** (1 - melanin) * _DEEP**melanin
    light_hair = group == 2
    hair = _pick(rng, _HAIR_LIGHT if light_hair else _HAIR_DARK)
    if age > 0.45:
        hair = (0.26, 0.25, 0.245)
    names = sorted(path.name for path in lights.glob("*.exr") if path.stem != "night")
    environment = names[identity % len(names)]
    turn = float(rng.random())
    light, _ = read_light(lights / environment, turn, 200.0, 16)
    return Look(
        person=person,
        outfit=_outfit(rng, female, identity),
        skin=_rgb(skin),
        lips=_rgb(skin * np.array([0.86, 0.56, 0.56]) if female else skin * (0.84, 0.62, 0.60)),
        hair=hair,
        iris=_pick(rng, _IRIS_LIGHT if light_hair else _IRIS_DARK),
        cloth=_pick(rng, CLOTHS),
        blush=float(rng.uniform(0.25, 0.6)),
        stubble=0.0 if female else float(rng.uniform(0.0, 0.55)),
        lashes=0.62 if female else 0.38,
        seed=float(rng.random()),
        light=light,
        environment=environment,
        turn=turn,
        blur=float(rng.uniform(110.0, 260.0)),
        camera_yaw=float(0.05 * rng.standard_normal()),
        camera_pitch=float(0.025 * rng.standard_normal()),
        shift=(float(0.012 * rng.standard_normal()), float(0.006 * rng.standard_normal())),
    )


def _outfit(rng: np.random.Generator, female: bool, identity: int) -> Outfit:
    hairs = HAIR_FEMALE if female else HAIR_MALE
    return Outfit(
        hair=hairs[(identity // 2 + identity // 6) % len(hairs)],
        brows=_choice(rng, BROWS_FEMALE if female else BROWS_MALE),
        smile=float(rng.uniform(0.0, 0.12)),
    )


def _choice(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    return names[int(rng.integers(len(names)))]


def _pick(rng: np.random.Generator, colours: tuple[Rgb, ...]) -> Rgb:
    base = np.asarray(colours[int(rng.integers(len(colours)))])
    return _rgb(base * rng.uniform(0.85, 1.2))


def _rgb(values: NDArray[np.floating]) -> Rgb:
    return float(values[0]), float(values[1]), float(values[2])


@lru_cache(maxsize=8)
def _read_map(path: Path) -> Floats:
    with OpenEXR.File(str(path)) as file:
        rgb: Floats = np.ascontiguousarray(file.channels()["RGB"].pixels, np.float32)
    return rgb


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
        key_dir=_rgb(key),
        key_rgb=_rgb(key_rgb * gain),
        fill_dir=_rgb(fill),
        fill_rgb=_rgb(fill_rgb * gain),
        rim_dir=_rgb(rim / np.linalg.norm(rim)),
        rim_rgb=_rgb(rim_rgb * gain),
        sky_rgb=_rgb(sky_rgb * gain),
        ground_rgb=_rgb(ground_rgb * gain),
    )


def _tinted(colour: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """The colour at a given brightness, two thirds of the way to grey."""
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
    picked = cv2.remap(soft, at[0], at[1], cv2.INTER_LINEAR)
    grey = picked.mean(-1)
    gain = min(0.28 / float(np.median(grey) + 1e-3), 0.75 / float(np.quantile(grey, 0.95) + 1e-3))
    picked *= gain
    shown = picked * (2.51 * picked + 0.03) / (picked * (2.43 * picked + 0.59) + 0.14)
    out: Floats = (np.clip(shown, 0.0, 1.0) ** (1 / 2.2)).astype(np.float32)
    return out
