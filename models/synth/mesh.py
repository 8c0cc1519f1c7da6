"""Reads meshes, morph targets and fitted meshes (MakeHuman's formats), and subdivides quads."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
MorphTarget = tuple[Ints, Floats]
"""Indices of the vertices that move [M], and how far [M, 3] (decimetres)."""


@dataclass(frozen=True)
class Mesh:
    """Quads with texture coordinates; a triangle repeats its last corner.

    Attributes:
        points: [V, 3]; texture: [U, 2].
        faces: point indices [F, 4]; face_texture: texture indices [F, 4].
        groups: name of the group that each face belongs to, [F].
    """

    points: Floats
    texture: Floats
    faces: Ints
    face_texture: Ints
    groups: NDArray[np.str_]


def read_obj(path: Path) -> Mesh:
    """Read points, texture coordinates, faces and groups of a Wavefront file."""
    points: list[list[float]] = []
    texture: list[list[float]] = []
    faces: list[list[int]] = []
    face_texture: list[list[int]] = []
    groups: list[str] = []
    group = ""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "v":
            points.append([float(x) for x in words[1:4]])
        elif words[0] == "vt":
            texture.append([float(x) for x in words[1:3]])
        elif words[0] == "g":
            group = words[1]
        elif words[0] == "f":
            corners = [word.split("/") for word in words[1:5]]
            corners += [corners[-1]] * (4 - len(corners))
            faces.append([int(c[0]) - 1 for c in corners])
            face_texture.append([int(c[1]) - 1 if len(c) > 1 and c[1] else 0 for c in corners])
            groups.append(group)
    return Mesh(
        np.array(points, np.float32),
        np.array(texture, np.float32),
        np.array(faces, np.int64),
        np.array(face_texture, np.int64),
        np.array(groups),
    )


def read_morph_target(path: Path) -> MorphTarget:
    """Read a morph target: lines of `index dx dy dz`, plain or gzip-compressed."""
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8") as file:
            text = file.read()
    else:
        text = path.read_text(encoding="utf-8")
    rows = [line.split() for line in text.splitlines() if line.strip() and line[0] != "#"]
    index = np.array([int(row[0]) for row in rows], np.int64)
    displacement = np.array([[float(x) for x in row[1:4]] for row in rows], np.float32)
    return index, displacement.reshape(-1, 3)


@dataclass(frozen=True)
class FittedMesh:
    """A mesh whose points are weighted sums of body points plus scaled offsets.

    Attributes:
        mesh: its own faces and texture coordinates.
        weights: sparse [points, body points].
        offsets: [points, 3], to be multiplied by ``scale(body)``.
        measures: per axis the two body points whose distance, over the third number, scales.
    """

    mesh: Mesh
    weights: sparse.csr_matrix
    offsets: Floats
    measures: dict[int, tuple[int, int, float]] = field(default_factory=dict)

    def scaled_offsets(self, body: Floats) -> Floats:
        """The offsets [points, 3] for a body [V, 3]."""
        scale = np.ones(3, np.float32)
        for axis, (a, b, span) in self.measures.items():
            scale[axis] = abs(float(body[a, axis] - body[b, axis])) / span
        return self.offsets * scale

    def fit(self, body: Floats) -> Floats:
        """Points [points, 3] on a body [V, 3]."""
        fitted: Floats = (self.weights @ body + self.scaled_offsets(body)).astype(np.float32)
        return fitted


def read_fitted_mesh(folder: Path, body_points: int) -> FittedMesh:
    """Read `NAME/NAME.mhclo` and `NAME/NAME.obj`."""
    path = folder / f"{folder.name}.mhclo"
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    offsets: list[list[float]] = []
    measures: dict[int, tuple[int, int, float]] = {}
    in_vertices = False
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if not words or words[0] == "#":
            continue
        if words[0] in ("x_scale", "y_scale", "z_scale"):
            measures["xyz".index(words[0][0])] = (int(words[1]), int(words[2]), float(words[3]))
        elif words[0] == "verts":
            in_vertices = True
        elif in_vertices and words[0].lstrip("-").isdigit():
            n = len(offsets)
            count = 1 if len(words) == 1 else 3
            rows += [n] * count
            columns += [int(word) for word in words[:count]]
            values += [1.0] if count == 1 else [float(word) for word in words[3:6]]
            offsets.append([0.0] * 3 if count == 1 else [float(word) for word in words[6:9]])
        elif in_vertices and offsets:
            in_vertices = False
    weights = sparse.csr_matrix((values, (rows, columns)), shape=(len(offsets), body_points))
    mesh = read_obj(folder / f"{folder.name}.obj")
    return FittedMesh(mesh, weights.astype(np.float32), np.array(offsets, np.float32), measures)


@dataclass(frozen=True)
class Subdivision:
    """One Catmull-Clark step as matrices.

    Attributes:
        points: sparse [new points, points]; texture: sparse [new texture, texture] (linear).
        faces, face_texture: new quads [4 F, 4].
    """

    points: sparse.csr_matrix
    texture: sparse.csr_matrix
    faces: Ints
    face_texture: Ints


def subdivide(faces: Ints, face_texture: Ints, points: int, texture: int) -> Subdivision:
    """Split each quad in four, smoothing points but not texture coordinates."""
    edges, edge_of = _edges(faces)
    matrix = _smooth_points(faces, edges, edge_of, points)
    texture_edges, texture_edge_of = _edges(face_texture)
    linear = sparse.vstack(
        [
            sparse.identity(texture),
            _average(texture_edges, texture),
            _average(face_texture, texture),
        ]
    )
    return Subdivision(
        matrix.tocsr().astype(np.float32),
        linear.tocsr().astype(np.float32),
        _split(faces, edge_of + points, points + len(edges)),
        _split(face_texture, texture_edge_of + texture, texture + len(texture_edges)),
    )


def texture_borders(face_texture: Ints) -> Ints:
    """Edges [E, 2] that only one of the faces [F, 4] has."""
    edges, edge_of = _edges(face_texture)
    borders: Ints = edges[np.bincount(edge_of.ravel(), minlength=len(edges)) == 1]
    return borders


def _edges(faces: Ints) -> tuple[Ints, Ints]:
    """Unique edges [E, 2], and for each face the edge that starts at each corner [F, 4]."""
    pairs = np.sort(np.stack([faces, np.roll(faces, -1, 1)], 2).reshape(-1, 2), 1)
    edges, inverse = np.unique(pairs, axis=0, return_inverse=True)
    return edges, inverse.reshape(-1, 4)


def _average(index: Ints, width: int) -> sparse.csr_matrix:
    count, per_row = index.shape
    rows = np.repeat(np.arange(count), per_row)
    values = np.full(index.size, 1.0 / per_row)
    return sparse.csr_matrix((values, (rows, index.ravel())), shape=(count, width))


def _ones(rows: Ints, columns: Ints, shape: tuple[int, int]) -> sparse.csr_matrix:
    return sparse.csr_matrix((np.ones(rows.size), (rows, columns)), shape=shape)


def _smooth_points(faces: Ints, edges: Ints, edge_of: Ints, points: int) -> sparse.spmatrix:
    count = len(edges)
    face_index = np.repeat(np.arange(len(faces)), 4)
    face_points = _average(faces, points)
    edge_middles = _average(edges, points)
    edge_faces = _ones(edge_of.ravel(), face_index, (count, len(faces)))
    shared = np.asarray(edge_faces.sum(1)).ravel()
    border = shared < 2
    near = sparse.diags(1.0 / np.maximum(shared, 1)) @ edge_faces @ face_points
    inner = sparse.diags(np.where(border, 0.0, 0.5))
    edge_points = sparse.diags(np.where(border, 1.0, 0.5)) @ edge_middles + inner @ near
    both = np.repeat(np.arange(count), 2)
    point_edges = _ones(edges.ravel(), both, (points, count))
    point_faces = _ones(faces.ravel(), face_index, (points, len(faces)))
    valence = np.maximum(np.asarray(point_edges.sum(1)).ravel(), 1)
    around = np.maximum(np.asarray(point_faces.sum(1)).ravel(), 1)
    smooth = (
        sparse.diags(1.0 / valence / around) @ point_faces @ face_points
        + sparse.diags(2.0 / valence / valence) @ point_edges @ edge_middles
        + sparse.diags((valence - 3.0) / valence)
    )
    rim_edges = np.where(border)[0]
    rim_ones = _ones(edges[border].ravel(), np.repeat(rim_edges, 2), (points, count))
    rim = sparse.diags(np.full(points, 0.5)) + 0.25 * (rim_ones @ edge_middles)
    on_rim = np.zeros(points)
    on_rim[edges[border].ravel()] = 1.0
    displacement = sparse.diags(1.0 - on_rim) @ smooth + sparse.diags(on_rim) @ rim
    return sparse.vstack([displacement, edge_points, face_points])


def _split(faces: Ints, edge_points: Ints, first_face_point: int) -> Ints:
    centre = first_face_point + np.arange(len(faces))
    parts = [
        np.stack([faces[:, k], edge_points[:, k], centre, edge_points[:, (k - 1) % 4]], 1)
        for k in range(4)
    ]
    return np.concatenate(parts)
