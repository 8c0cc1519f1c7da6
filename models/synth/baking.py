"""Bakes what the shaders look up: noise, region masks, skin mottle and ambient occlusion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates, zoom
from trimesh.ray.ray_pyembree import RayMeshIntersector

from models.synth.character import ANIMATED, Character, Material
from models.synth.mesh import Floats

NOISE_SIZE = 64
MASK_SIZE = 1024
RAYS = 40
_MASKS = (("lips", 1.2), ("ears", 4.0), ("eyelids", 4.0), ("inside-mouth", 2.0))
_MOTTLE = ((0.5, 0), (0.8, 1), (2.1, 2), (9.0, 0))


def make_noise() -> Floats:
    """Noise that repeats in all directions, values 0..1 about 0.5, float32 [64, 64, 64, 3]."""
    rng = np.random.default_rng(5)

    def smooth(resolution: int) -> Floats:
        values = rng.random((resolution,) * 3 + (3,)).astype(np.float32)
        factor = NOISE_SIZE // resolution
        padded = np.pad(values, ((1, 1),) * 3 + ((0, 0),), "wrap")
        fine: Floats = zoom(padded, (factor, factor, factor, 1), order=1)
        inner: Floats = fine[factor:-factor, factor:-factor, factor:-factor]
        return inner

    mixed = smooth(16) * 0.5 + smooth(32) * 0.3 + rng.random((NOISE_SIZE,) * 3 + (3,)) * 0.2
    normalised = np.clip((mixed - mixed.mean()) / mixed.std() * 0.19 + 0.5, 0, 1)
    out: Floats = normalised.astype(np.float32)
    return out


def read_masks(folder: Path) -> NDArray[np.uint8]:
    """Lips, ears, eyelids and inside of the mouth, uint8 [1024, 1024, 4], first row lowest.

    Raises:
        RuntimeError: a picture is missing.
    """
    layers = []
    for name, blur in _MASKS:
        path = str(folder / f"mpfb_{name}.jpg")
        picture = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
        if picture is None:
            raise RuntimeError(f"{path}: expected a readable picture")
        small = cv2.resize(picture, (MASK_SIZE, MASK_SIZE), interpolation=cv2.INTER_AREA)
        layers.append(gaussian_filter(small.astype(np.float32), blur))
    return np.ascontiguousarray(np.stack(layers, -1).astype(np.uint8)[::-1])


def bake_mottle(noise: Floats, rest: Floats, seed: float) -> Floats:
    """Uneven skin: slow to fine noise, float32 [N, 4], at the rest position [N, 3] of each point.

    Args:
        noise: of ``make_noise``.
        rest: decimetres.
        seed: shifts the noise, 0..1.
    """
    shift = seed * 7.0
    channels = [
        map_coordinates(
            noise[..., channel],
            ((rest * scale + shift) * NOISE_SIZE / 10 % NOISE_SIZE).T,
            order=1,
            mode="grid-wrap",
        )
        for scale, channel in _MOTTLE
    ]
    return np.stack(channels, 1).astype(np.float32)


def bake_ambient_occlusion(character: Character) -> Floats:
    """Share of rays from each point that hit nothing, 0..1, float32 [N].

    Baked with a slightly open jaw, so that lips and teeth are not black when they part.
    """
    points = character.rest + 0.25 * character.blendshapes[ANIMATED.index("jawOpen")]
    normals = character.normals(points)
    materials = character.material[character.triangles[:, 0]]
    blocking = np.isin(materials, (Material.SKIN, Material.HAIR))
    mesh = trimesh.Trimesh(points, character.triangles[blocking], process=False)
    intersector: Any = RayMeshIntersector(mesh)
    unblocked = np.zeros(len(points))
    for direction in _fibonacci_sphere():
        ray = normals + 0.98 * direction
        ray /= np.linalg.norm(ray, axis=1, keepdims=True)
        unblocked += ~intersector.intersects_any(points + 0.012 * normals, ray)
    out = (unblocked / RAYS).astype(np.float32)
    out[np.isin(character.material, (Material.BROW, Material.LASH))] = 0.8
    return out


def _fibonacci_sphere() -> Floats:
    """Evenly spread unit vectors [RAYS, 3]."""
    k = np.arange(RAYS) + 0.5
    height = 1.0 - 2.0 * k / RAYS
    angle = k * np.pi * (3.0 - np.sqrt(5.0))
    radius = np.sqrt(1.0 - height**2)
    out: Floats = np.stack([radius * np.cos(angle), height, radius * np.sin(angle)], 1)
    return out
