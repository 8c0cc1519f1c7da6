"""Mesh parts of a character: one mesh from many, welded, culled, weighted for head rotation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.face.geometry import ease
from models.synth.character import HeadLandmarks, Material, is_below_neckline
from models.synth.mesh import Floats, Ints

_FACES_AWAY = -0.35


@dataclass(frozen=True)
class MeshPart:
    """One piece of a character: its points are ``weights @ body + offsets``.

    Attributes:
        weights: sparse [N, V]; offsets: [N, 3], decimetres.
        faces: quads [F, 4]; texture: coordinates [N, 2].
        weld: index of each point before texture seams split it, [N].
    """

    weights: sparse.csr_matrix
    offsets: Floats
    faces: Ints
    texture: Floats
    material: Material
    weld: Ints


@dataclass(frozen=True)
class MergedMesh:
    """Several parts as one mesh of N points.

    Attributes:
        weights: sparse [N, V]; offsets: [N, 3], decimetres.
        triangles: [F, 3]; texture: coordinates [N, 2]; material: [N].
        weld: index of the welded point that each point belongs to, [N], below ``num_welded``.
    """

    weights: sparse.csr_matrix
    offsets: Floats
    triangles: Ints
    texture: Floats
    material: NDArray[np.int64]
    weld: Ints
    num_welded: int


def make_mesh_part(
    weights: sparse.csr_matrix,
    offsets: Floats | None,
    faces: Ints,
    face_texture: Ints,
    texture: Floats,
    material: Material,
) -> MeshPart:
    """Give each pair of point and texture coordinate its own vertex."""
    pairs = np.stack([faces.ravel(), face_texture.ravel()], 1)
    unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
    weld = unique[:, 0]
    return MeshPart(
        weights=weights[weld].tocsr(),
        offsets=np.zeros((len(unique), 3), np.float32) if offsets is None else offsets[weld],
        faces=inverse.reshape(faces.shape),
        texture=texture[unique[:, 1]].astype(np.float32),
        material=material,
        weld=weld,
    )


def visible_triangles(
    rest: Floats, triangles: Ints, material: NDArray[np.int64], neck: Floats
) -> NDArray[np.bool_]:
    """Which triangles a camera in front may see, bool [F]: no backs, no skin well under cloth."""
    corners = rest[triangles]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    triangle_material = material[triangles[:, 0]]
    opaque = np.isin(triangle_material, (Material.SKIN, Material.EYE, Material.CLOTH))
    faces_away = opaque & (normal[:, 2] < _FACES_AWAY)
    under_cloth = is_below_neckline(corners + np.array([0.0, 0.35, 0.0]), neck).all(1)
    visible: NDArray[np.bool_] = ~faces_away & ~(under_cloth & (triangle_material == Material.SKIN))
    return visible


def merge_parts(parts: list[MeshPart]) -> MergedMesh:
    """Concatenate parts, quads split into triangles."""
    counts = [part.weights.shape[0] for part in parts]
    starts = np.cumsum([0, *counts[:-1]])
    triangles = [_triangles(p.faces) + start for p, start in zip(parts, starts, strict=True)]
    weld, num_welded = _weld(parts)
    return MergedMesh(
        weights=sparse.vstack([part.weights for part in parts]).tocsr(),
        offsets=np.concatenate([part.offsets for part in parts]),
        triangles=np.concatenate(triangles),
        texture=np.concatenate([part.texture for part in parts]),
        material=np.repeat([int(part.material) for part in parts], counts),
        weld=weld,
        num_welded=num_welded,
    )


def normal_accumulator(merged: MergedMesh, triangles: Ints) -> sparse.csr_matrix:
    """Matrix that sums face normals at welded points, sparse [num_welded, F]."""
    columns = np.repeat(np.arange(len(triangles)), 3)
    rows = merged.weld[triangles].ravel()
    values = np.ones(columns.size, np.float32)
    return sparse.csr_matrix((values, (rows, columns)), shape=(merged.num_welded, len(triangles)))


def _triangles(faces: Ints) -> Ints:
    return np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])


def _weld(parts: list[MeshPart]) -> tuple[Ints, int]:
    """Common index of points that share a position and so a normal, [N], and their number."""
    keys: list[Ints] = []
    base = 0
    for part in parts:
        keys.append(part.weld + base)
        base += int(part.weld.max()) + 1
    unique, weld = np.unique(np.concatenate(keys), return_inverse=True)
    return weld, len(unique)


def head_rotation_weights(
    rest: Floats, material: NDArray[np.int64], landmarks: HeadLandmarks
) -> Floats:
    """Share of the head's rotation, float32 [N]: 0 on the body, 1 above the neck."""
    low, high = landmarks.neck[1] - 0.25, landmarks.skull[1] - 0.25
    weights = ease((rest[:, 1] - low) / (high - low))
    weights[material == Material.CLOTH] = 0.0
    rigid = (Material.EYE, Material.TEETH, Material.TONGUE, Material.BROW, Material.LASH)
    weights[np.isin(material, rigid)] = 1.0
    out: Floats = weights.astype(np.float32)
    return out
