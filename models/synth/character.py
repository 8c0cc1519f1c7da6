"""A person as one animated mesh: what moves, what turns, where the landmarks are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.mini.motion import MOTION, MOUTH_UNITS
from models.synth.mesh import Floats, Ints

DRIVEN = (*MOUTH_UNITS, "blink", "brow")
"""What moves the skin, in the order of ``Figure.moves``."""
COLLAR = (-0.16, -0.40, 0.06)
"""Neckline: height over the neck joint, slope to the front, flare to the sides."""


class Material(IntEnum):
    """How a part is shaded."""

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
    """Names of hair and brow meshes; no hair for a bald head."""

    hair: str | None
    brows: str
    smile: float = 0.0


@dataclass(frozen=True)
class Landmarks:
    """Points of a person at rest, decimetres [3]."""

    neck: Floats
    skull: Floats
    eyes: tuple[Floats, Floats]
    eye_radius: float
    mouth: Floats
    chin: Floats
    brow_height: float
    crown_height: float


@dataclass(frozen=True)
class Figure:
    """A person ready to be animated and drawn. N points.

    Attributes:
        rest: [N, 3]; moves: [15, N, 3], for each of ``DRIVEN``.
        triangles: [F, 3]; texture: [N, 2]; material: [N]; turns: [N], share of head rotation.
        normal_sum: sparse [welded points, F]; weld: [N].
        mouth_points: indices around the lips.
    """

    rest: Floats
    moves: Floats
    triangles: Ints
    texture: Floats
    material: NDArray[np.int64]
    turns: Floats
    normal_sum: sparse.csr_matrix
    weld: Ints
    mouth_points: Ints
    landmarks: Landmarks

    def posed(self, mouth: Floats, motion: Floats) -> Floats:
        """Points [N, 3] for one row of each track, before the head turns."""
        drive = np.concatenate(
            [mouth, motion[[MOTION.index("blink"), MOTION.index("brow")]]]
        ).astype(np.float32)
        moved: Floats = self.rest + np.tensordot(drive, self.moves, 1)
        return moved

    def normals(self, points: Floats) -> Floats:
        """Smooth unit normals [N, 3]."""
        corners = points[self.triangles]
        area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        summed = (self.normal_sum @ area)[self.weld]
        length = np.linalg.norm(summed, axis=1, keepdims=True)
        unit: Floats = (summed / np.maximum(length, 1e-9)).astype(np.float32)
        return unit


def below_collar(points: Floats, neck: Floats) -> NDArray[np.bool_]:
    """Whether points [..., 3] lie under the neckline, as the cloth's shading cuts it."""
    height, slope, flare = COLLAR
    edge = neck[1] + height + slope * (points[..., 2] - neck[2]) + flare * np.abs(points[..., 0])
    under: NDArray[np.bool_] = points[..., 1] < edge
    return under
