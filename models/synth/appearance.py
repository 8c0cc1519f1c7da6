"""Samples an identity's appearance: head shape, colours, hair, clothes, light and framing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.synth.character import Outfit
from models.synth.lighting import Rgb, to_rgb
from models.synth.morphable_head import HeadShape

HAIR_FEMALE = ("long01", "braid01", "long01", "braid01", "ponytail01")
HAIR_MALE = ("short01", "short02", "short04")
BROWS_FEMALE = ("eyebrow001", "eyebrow002", "eyebrow004", "eyebrow010")
BROWS_MALE = ("eyebrow001", "eyebrow003", "eyebrow004", "eyebrow010")
CLOTH_COLOURS: tuple[Rgb, ...] = (
    (0.03, 0.03, 0.04),
    (0.05, 0.08, 0.16),
    (0.36, 0.35, 0.34),
    (0.20, 0.05, 0.05),
    (0.06, 0.12, 0.09),
    (0.16, 0.12, 0.08),
    (0.10, 0.20, 0.26),
    (0.24, 0.16, 0.26),
)
_HAIR_DARK: tuple[Rgb, ...] = (
    (0.014, 0.011, 0.010),
    (0.022, 0.014, 0.010),
    (0.040, 0.022, 0.013),
)
_HAIR_LIGHT: tuple[Rgb, ...] = (
    (0.11, 0.06, 0.028),
    (0.28, 0.18, 0.08),
    (0.045, 0.025, 0.014),
    (0.15, 0.055, 0.022),
    (0.075, 0.040, 0.020),
    (0.42, 0.30, 0.16),
    (0.24, 0.085, 0.030),
)
_IRIS_DARK: tuple[Rgb, ...] = ((0.07, 0.035, 0.015), (0.05, 0.025, 0.012))
_IRIS_LIGHT: tuple[Rgb, ...] = ((0.11, 0.17, 0.23), (0.09, 0.12, 0.07), (0.11, 0.065, 0.03))
_PALE = np.array([0.60, 0.395, 0.305])
_DEEP = np.array([0.165, 0.085, 0.050])
_MELANIN = (0.80, 0.30, 0.12)
_GREY_AGE = 0.45
_DARK_SKIN = 0.5
"""Melanin from which on a photograph of dark skin is taken."""
_SKINS: dict[tuple[str, bool], tuple[tuple[str, float], ...]] = {
    ("female", False): (
        ("young_lightskinned_female_diffuse2", 0.0),
        ("young_lightskinned_female_diffuse3", 0.0),
        ("middleage_lightskinned_female_diffuse2", 0.3),
    ),
    ("female", True): (
        ("middleage_darkskinned_female_diffuse", 0.2),
        ("old_darkskinned_female_diffuse", 0.4),
    ),
    ("male", False): (
        ("young_lightskinned_male_diffuse", 0.0),
        ("young_lightskinned_male_diffuse2", 0.0),
        ("young_lightskinned_male_diffuse3", 0.0),
        ("middleage_lightskinned_male_diffuse", 0.3),
        ("middleage_lightskinned_male_diffuse2", 0.3),
        ("old_lightskinned_male_diffuse2", 0.5),
    ),
    ("male", True): (
        ("young_darkskinned_male_diffuse", 0.0),
        ("middleage_darkskinned_male_diffuse", 0.3),
        ("old_darkskinned_male_diffuse", 0.5),
    ),
}
"""Photographs of skin by sex and darkness, each with the age that it shows, as in ``HeadShape``."""
_AGE_REACH = 0.21
_EYES = ("grey", "ice", "green", "lightblue", "brownlight", "brown", "bluegreen")
_LASHES = ("eyelashes01", "eyelashes02", "eyelashes03")


@dataclass(frozen=True)
class PhotoNames:
    """Names of the photographs that a head shows where they are at hand."""

    skin: str
    eye: str


@dataclass(frozen=True)
class Appearance:
    """Everything about an identity that does not move.

    Attributes:
        skin, lips, hair, iris, cloth: linear RGB, 0..1.
        lashes: how dark the lashes are, 0..1.
        blush, stubble: 0..1.
        seed: shifts the noise, 0..1.
        environment: file name of the environment map.
        environment_turn: share of a full turn of that map about the vertical axis.
        background_sharpness: picture width over blur radius.
        camera_yaw, camera_pitch: where the camera stands, radians.
        shift: offset of the picture, shares of its height (right, up).
    """

    head_shape: HeadShape
    outfit: Outfit
    photos: PhotoNames
    skin: Rgb
    lips: Rgb
    hair: Rgb
    iris: Rgb
    cloth: Rgb
    blush: float
    stubble: float
    lashes: float
    seed: float
    environment: str
    environment_turn: float
    background_sharpness: float
    camera_yaw: float
    camera_pitch: float
    shift: tuple[float, float]


def sample_appearance(identity: int, lights: Path) -> Appearance:
    """Appearance of an identity: gender alternates, ethnicities and environment maps take turns.

    Args:
        identity: any number from 0; even ones are women.
        lights: folder of environment maps (.exr).
    """
    rng = np.random.default_rng([identity, 2024])
    female = identity % 2 == 0
    group = (identity // 2 + 2 - identity % 2) % 3
    head_shape = _head_shape(rng, identity, female, group)
    melanin = float(np.clip(_MELANIN[group] + 0.10 * rng.standard_normal(), 0.0, 0.95))
    skin = _PALE ** (1 - melanin) * _DEEP**melanin
    light_hair = group == 2
    hair = _pick(rng, _HAIR_LIGHT if light_hair else _HAIR_DARK)
    if head_shape.age > _GREY_AGE:
        hair = (0.26, 0.25, 0.245)
    names = sorted(path.name for path in lights.glob("*.exr") if path.stem != "night")
    environment = names[identity % len(names)]
    environment_turn = float(rng.random())
    return Appearance(
        head_shape=head_shape,
        outfit=_outfit(rng, female, identity),
        photos=_photo_names(identity, female, melanin, head_shape.age),
        skin=to_rgb(skin),
        lips=to_rgb(skin * np.array([0.86, 0.56, 0.56]) if female else skin * (0.84, 0.62, 0.60)),
        hair=hair,
        iris=_pick(rng, _IRIS_LIGHT if light_hair else _IRIS_DARK),
        cloth=_pick(rng, CLOTH_COLOURS),
        blush=float(rng.uniform(0.25, 0.6)),
        stubble=0.0 if female else float(rng.uniform(0.0, 0.55)),
        lashes=0.62 if female else 0.38,
        seed=float(rng.random()),
        environment=environment,
        environment_turn=environment_turn,
        background_sharpness=float(rng.uniform(110.0, 260.0)),
        camera_yaw=float(0.05 * rng.standard_normal()),
        camera_pitch=float(0.025 * rng.standard_normal()),
        shift=(float(0.012 * rng.standard_normal()), float(0.006 * rng.standard_normal())),
    )


def _head_shape(rng: np.random.Generator, identity: int, female: bool, group: int) -> HeadShape:
    ethnicities = np.eye(3)[group] * 0.68 + rng.dirichlet([2.0] * 3) * 0.32
    age = float((0.04, 0.14, 0.30, 0.50)[rng.choice(4, p=(0.35, 0.35, 0.2, 0.1))])
    return HeadShape(
        seed=identity,
        gender=0.0 if female else 0.93,
        age=age,
        ethnicities=(float(ethnicities[0]), float(ethnicities[1]), float(ethnicities[2])),
    )


def _outfit(rng: np.random.Generator, female: bool, identity: int) -> Outfit:
    hairs = HAIR_FEMALE if female else HAIR_MALE
    return Outfit(
        hair=hairs[(identity // 2 + identity // 6) % len(hairs)],
        brows=_choice(rng, BROWS_FEMALE if female else BROWS_MALE),
        smile=float(rng.uniform(0.0, 0.12)),
    )


def _photo_names(identity: int, female: bool, melanin: float, age: float) -> PhotoNames:
    """Photographs for a sex, skin and age; skins of about the same age are equally likely."""
    rng = np.random.default_rng([identity, 2031])
    skins = _SKINS["female" if female else "male", melanin > _DARK_SKIN]
    nearest = min(abs(shown - age) for _, shown in skins)
    near = tuple(name for name, shown in skins if abs(shown - age) <= max(nearest, _AGE_REACH))
    return PhotoNames(_choice(rng, near), _choice(rng, _EYES))


def _choice(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    return names[int(rng.integers(len(names)))]


def _pick(rng: np.random.Generator, colours: tuple[Rgb, ...]) -> Rgb:
    base = np.asarray(colours[int(rng.integers(len(colours)))])
    return to_rgb(base * rng.uniform(0.85, 1.2))
