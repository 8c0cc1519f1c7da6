"""A character: one mesh with blendshapes, head rotation weights and landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.mini.motion import MOTION, MOUTH_UNITS
from models.synth.mesh import Floats, Ints

ANIMATED = (*MOUTH_UNITS, "blink", "brow")
"""What deforms the mesh, in the order of ``Character.blendshapes``."""
NECKLINE = (-0.16, -0.40, 0.06)
"""Height over the neck joint, slope to the front, flare to the sides; decimetres."""


class Material(IntEnum):
    """How a mesh part is shaded; the numbers are those in ``shaders``."""

    SKIN = 0
    EYE = 1
    TEETH = 2
    TONGUE = 3
    CLOTH = 4
    HAIR = 5
    BROW = 6
    LASH = 7


TRANSLUCENT = (Material.BROW, Material.LASH)


@dataclass(frozen=True)
class Outfit:
    """Names of the meshes of hair (None: bald), brows and lashes, and an added smile 0..1."""

    hair: str | None
    brows: str
    lashes: str = "eyelashes01"
    smile: float = 0.0


@dataclass(frozen=True)
class HeadLandmarks:
    """Points of a head in its rest pose, [3], and heights; decimetres."""

    neck: Floats
    skull: Floats
    eyes: tuple[Floats, Floats]
    mouth: Floats
    chin: Floats
    brow_height: float
    crown_height: float


@dataclass(frozen=True)
class Character:
    """A mesh of N points that can be animated and drawn.

    Attributes:
        rest: points in the rest pose, [N, 3].
        blendshapes: displacements [15, N, 3], one for each of ``ANIMATED``.
        triangles: [F, 3].
        texture: coordinates [N, 2].
        material: [N], numbers of ``Material``.
        head_rotation_weights: share of the head's rotation, 0..1, [N].
        normal_accumulator: sums face normals at welded points, sparse [welded points, F].
        weld: index of the welded point, [N].
        mouth_points: indices of the points around the lips.
    """

    rest: Floats
    blendshapes: Floats
    triangles: Ints
    texture: Floats
    material: NDArray[np.int64]
    head_rotation_weights: Floats
    normal_accumulator: sparse.csr_matrix
    weld: Ints
    mouth_points: Ints
    landmarks: HeadLandmarks

    def deform(self, mouth: Floats, motion: Floats) -> Floats:
        """Points [N, 3] for one frame, mouth [13] and motion [7], before the head turns."""
        weights = np.concatenate(
            [mouth, motion[[MOTION.index("blink"), MOTION.index("brow")]]]
        ).astype(np.float32)
        points: Floats = self.rest + np.tensordot(weights, self.blendshapes, 1)
        return points

    def normals(self, points: Floats) -> Floats:
        """Smooth unit normals [N, 3] of points [N, 3]."""
        corners = points[self.triangles]
        face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        vertex_normals = (self.normal_accumulator @ face_normals)[self.weld]
        length = np.linalg.norm(vertex_normals, axis=1, keepdims=True)
        unit: Floats = (vertex_normals / np.maximum(length, 1e-9)).astype(np.float32)
        return unit


def is_below_neckline(points: Floats, neck: Floats) -> NDArray[np.bool_]:
    """Whether points [..., 3] lie under the neckline, where the cloth's shader cuts it."""
    height, slope, flare = NECKLINE
    edge = neck[1] + height + slope * (points[..., 2] - neck[2]) + flare * np.abs(points[..., 0])
    below: NDArray[np.bool_] = points[..., 1] < edge
    return below
