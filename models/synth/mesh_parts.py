"""Pieces of a figure: vertices, welding, what is seen, what turns with the head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.synth.character import Landmarks, Material, below_collar
from models.synth.mesh import Floats, Ints

_HIDDEN = -0.35


@dataclass(frozen=True)
class Part:
    """One piece of the figure: points are ``weights @ body + offsets``."""

    weights: sparse.csr_matrix
    offsets: Floats
    faces: Ints
    texture: Floats
    material: Material
    weld: Ints


@dataclass(frozen=True)
class Joined:
    """Several parts as one: N points, and ``welded`` places that they share."""

    weights: sparse.csr_matrix
    offsets: Floats
    triangles: Ints
    texture: Floats
    material: NDArray[np.int64]
    weld: Ints
    welded: int


def make_part(
    weights: sparse.csr_matrix,
    offsets: Floats | None,
    faces: Ints,
    face_texture: Ints,
    texture: Floats,
    material: Material,
) -> Part:
    """Give each pair of point and texture coordinate its own vertex."""
    pairs = np.stack([faces.ravel(), face_texture.ravel()], 1)
    unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
    shift = np.zeros((len(unique), 3), np.float32) if offsets is None else offsets[unique[:, 0]]
    return Part(
        weights[unique[:, 0]].tocsr(),
        shift,
        inverse.reshape(faces.shape),
        texture[unique[:, 1]].astype(np.float32),
        material,
        unique[:, 0],
    )


def seen(
    rest: Floats, triangles: Ints, material: NDArray[np.int64], neck: Floats
) -> NDArray[np.bool_]:
    """Leave out what no camera in front sees: backs, and skin well under the clothes."""
    corners = rest[triangles]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    kind = material[triangles[:, 0]]
    solid = np.isin(kind, (Material.SKIN, Material.EYE, Material.CLOTH))
    away = solid & (normal[:, 2] < _HIDDEN)
    covered = below_collar(corners + np.array([0.0, 0.35, 0.0]), neck).all(1)
    visible: NDArray[np.bool_] = ~away & ~(covered & (kind == Material.SKIN))
    return visible


def join(parts: list[Part]) -> Joined:
    """Put parts one after the other."""
    counts = [part.weights.shape[0] for part in parts]
    starts = np.cumsum([0, *counts[:-1]])
    triangles = [_triangles(p.faces) + start for p, start in zip(parts, starts, strict=True)]
    weld, welded = _weld(parts)
    return Joined(
        weights=sparse.vstack([part.weights for part in parts]).tocsr(),
        offsets=np.concatenate([part.offsets for part in parts]),
        triangles=np.concatenate(triangles),
        texture=np.concatenate([part.texture for part in parts]),
        material=np.repeat([int(part.material) for part in parts], counts),
        weld=weld,
        welded=welded,
    )


def normal_sum(joined: Joined, triangles: Ints) -> sparse.csr_matrix:
    """Adds the normals of triangles up at their welded corners, sparse [welded, F]."""
    columns = np.repeat(np.arange(len(triangles)), 3)
    rows = joined.weld[triangles].ravel()
    values = np.ones(columns.size, np.float32)
    return sparse.csr_matrix((values, (rows, columns)), shape=(joined.welded, len(triangles)))


def _triangles(faces: Ints) -> Ints:
    return np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])


def _weld(parts: list[Part]) -> tuple[Ints, int]:
    """Points that share a place share a normal: their common index, and how many there are."""
    keys: list[Ints] = []
    base = 0
    for part in parts:
        keys.append(part.weld + base)
        base += int(part.weld.max()) + 1
    unique, weld = np.unique(np.concatenate(keys), return_inverse=True)
    return weld, len(unique)


def turning(rest: Floats, material: NDArray[np.int64], marks: Landmarks) -> Floats:
    """Share of the head's rotation per point: none on the body, all above the neck."""
    low, high = marks.neck[1] - 0.25, marks.skull[1] - 0.25
    t = np.clip((rest[:, 1] - low) / (high - low), 0.0, 1.0)
    share = t * t * (3.0 - 2.0 * t)
    share[material == Material.CLOTH] = 0.0
    stiff = (Material.EYE, Material.TEETH, Material.TONGUE, Material.BROW, Material.LASH)
    share[np.isin(material, stiff)] = 1.0
    out: Floats = share.astype(np.float32)
    return out
