"""Bakes how open to the surroundings each point of a figure is."""

from __future__ import annotations

from typing import Any

import numpy as np
import trimesh
from trimesh.ray.ray_pyembree import RayMeshIntersector

from models.synth.character import DRIVEN, Figure, Material
from models.synth.mesh import Floats

RAYS = 40


def openness(figure: Figure) -> Floats:
    """Share of rays from each point that meet nothing, 0..1, float32 [N].

    Baked with a slightly open jaw, so that lips and teeth are not black when they part.
    """
    points = figure.rest + 0.25 * figure.moves[DRIVEN.index("jawOpen")]
    normals = figure.normals(points)
    kinds = figure.material[figure.triangles[:, 0]]
    solid = np.isin(kinds, (Material.SKIN, Material.HAIR))
    mesh = trimesh.Trimesh(points, figure.triangles[solid], process=False)
    scene: Any = RayMeshIntersector(mesh)
    free = np.zeros(len(points))
    for direction in _directions():
        ray = normals + 0.98 * direction
        ray /= np.linalg.norm(ray, axis=1, keepdims=True)
        free += ~scene.intersects_any(points + 0.012 * normals, ray)
    out = (free / RAYS).astype(np.float32)
    out[np.isin(figure.material, (Material.BROW, Material.LASH))] = 0.8
    return out


def _directions() -> Floats:
    """Evenly spread unit vectors [RAYS, 3] (a spiral over the sphere)."""
    k = np.arange(RAYS) + 0.5
    height = 1.0 - 2.0 * k / RAYS
    angle = k * np.pi * (3.0 - np.sqrt(5.0))
    radius = np.sqrt(1.0 - height**2)
    out: Floats = np.stack([radius * np.cos(angle), height, radius * np.sin(angle)], 1)
    return out
