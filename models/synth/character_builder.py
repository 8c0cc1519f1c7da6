"""Assembles head, eyes, teeth, brows, lashes, hair and clothes into a figure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from models.synth.assets import Assets
from models.synth.blendshapes import parts_of
from models.synth.character import DRIVEN, Figure, Landmarks, Material, Outfit, below_collar
from models.synth.mesh import Floats, Garment, read_garment, subdivide
from models.synth.mesh_parts import Part, join, make_part, normal_sum, seen, turning
from models.synth.morphable_head import BaseHead, Person

REST_FACE = (
    ("browInnerUp", 0.35),
    ("browOuterUpLeft", 0.25),
    ("browOuterUpRight", 0.25),
    ("eyeWideLeft", 0.1),
    ("eyeWideRight", 0.1),
    ("mouthSmileLeft", 0.16),
    ("mouthSmileRight", 0.16),
)
"""Added to every identity: the base mesh alone looks stern."""

HAIR_LIFT = {"braid01": (0.0, 0.11, 0.01)}
"""Hair that would hang over an eye is moved by so much, decimetres."""
_BROW_TILT = 0.065
_BODY_BOTTOM = 4.6
_BODY_WIDTH = 2.9
_CLOTH_TOP = 6.4


class Wardrobe:
    """Keeps what all figures share: the base head, fitted meshes and the finer skin."""

    def __init__(self, assets: Assets) -> None:
        self.head = BaseHead(assets)
        self._meshes = assets.meshes
        self._garments: dict[str, Garment] = {}
        self._skin = self._skin_part()

    def dress(self, person: Person, outfit: Outfit) -> Figure:
        """Make the figure of a person."""
        body = self.head.shape(person)
        for unit, share in REST_FACE:
            extra = outfit.smile if unit.startswith("mouthSmile") else 0.0
            index, moved = self.head.unit(unit)
            body[index] += np.float32(share + extra) * moved
        parts = [self._skin, *self._eyes(), self._tongue(), self._teeth(body), self._cloth(body)]
        parts.append(self._brows(outfit.brows, body))
        parts.append(self._lashes(body))
        if outfit.hair:
            name = f"hair/{outfit.hair}"
            lift = np.array(HAIR_LIFT.get(outfit.hair, (0.0, 0.0, 0.0)), np.float32)
            parts.append(self._worn(name, body, Material.HAIR, shift=lift))
        return self._assemble(parts, body)

    def _skin_part(self) -> Part:
        mesh = self.head.mesh
        corners = mesh.points[mesh.faces]
        keep = self.head.group_faces("body")
        keep &= corners[:, :, 1].max(1) > _BODY_BOTTOM
        keep &= np.abs(corners[:, :, 0]).max(1) < _BODY_WIDTH
        finer = subdivide(
            mesh.faces[keep], mesh.face_texture[keep], len(mesh.points), len(mesh.texture)
        )
        return make_part(
            finer.points,
            None,
            finer.faces,
            finer.face_texture,
            (finer.texture @ mesh.texture).astype(np.float32),
            Material.SKIN,
        )

    def _group_part(self, keep: NDArray[np.bool_], material: Material) -> Part:
        mesh = self.head.mesh
        same = sparse.identity(len(mesh.points), format="csr", dtype=np.float32)
        return make_part(
            same, None, mesh.faces[keep], mesh.face_texture[keep], mesh.texture, material
        )

    def _eyes(self) -> list[Part]:
        names = ("helper-r-eye", "helper-l-eye")
        return [self._group_part(self.head.group_faces(name), Material.EYE) for name in names]

    def _tongue(self) -> Part:
        return self._group_part(self.head.group_faces("helper-tongue"), Material.TONGUE)

    def _cloth(self, body: Floats) -> Part:
        mesh = self.head.mesh
        corners = mesh.points[mesh.faces]
        keep = self.head.group_faces("helper-tights")
        keep &= (corners[:, :, 1].max(1) > 4.2) & (corners[:, :, 1].max(1) < _CLOTH_TOP)
        keep &= below_collar(body[mesh.faces], self._joint(body, "joint-neck")).any(1)
        keep &= np.abs(corners[:, :, 0]).max(1) < _BODY_WIDTH + 0.3
        return self._group_part(keep, Material.CLOTH)

    def _joint(self, body: Floats, name: str) -> Floats:
        middle: Floats = body[self.head.group_points(name)].mean(0)
        return middle

    def _garment(self, name: str) -> Garment:
        if name not in self._garments:
            self._garments[name] = read_garment(self._meshes / name, self.head.points)
        return self._garments[name]

    def _worn(
        self,
        name: str,
        body: Floats,
        material: Material,
        texture: Floats | None = None,
        keep: NDArray[np.bool_] | None = None,
        shift: Floats | None = None,
    ) -> Part:
        garment = self._garment(name)
        mesh = garment.mesh
        faces, face_texture = mesh.faces, mesh.face_texture
        if keep is not None:
            faces, face_texture = faces[keep], face_texture[keep]
        offsets = garment.scaled_offsets(body)
        if shift is not None:
            offsets = offsets + shift
        uv = mesh.texture if texture is None else texture
        return make_part(garment.weights, offsets, faces, face_texture, uv, material)

    def _teeth(self, body: Floats) -> Part:
        """The outer faces alone: gums and inner sides only cost time."""
        name = "teeth/teeth_base"
        garment = self._garment(name)
        points = garment.fit(body)[garment.mesh.faces]
        middle = points.mean(1)
        normal = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
        outward = middle - np.array([0.0, 0.0, middle[:, 2].min()])
        outward[:, 1] = 0.0
        outward /= np.linalg.norm(outward, axis=1, keepdims=True) + 1e-9
        keep = (normal * outward).sum(1) > 0.1
        keep &= middle[:, 2] > np.quantile(middle[:, 2], 0.35)
        return self._worn(name, body, Material.TEETH, keep=keep)

    def _brows(self, brows: str, body: Floats) -> Part:
        """Brows with texture (along from the nose, up across) laid out from their outline."""
        name = f"eyebrows/{brows}"
        mesh = self._garment(name).mesh
        points = self._garment(name).fit(body)
        uv = np.zeros((len(mesh.texture), 2), np.float32)
        place = np.zeros((len(uv), 3), np.float32)
        lift = np.zeros(len(uv), np.float32)
        place[mesh.face_texture.ravel()] = points[mesh.faces.ravel()]
        for side in (-1, 1):
            mine = place[:, 0] * side > 0
            x, y = np.abs(place[mine, 0]), place[mine, 1]
            along = (x - x.min()) / (np.ptp(x) + 1e-6)
            knots = np.linspace(0, 1, 10)
            near = [np.abs(along - knot) < 0.14 for knot in knots]
            low = np.interp(along, knots, [y[m].min() if m.any() else y.min() for m in near])
            high = np.interp(along, knots, [y[m].max() if m.any() else y.max() for m in near])
            across = np.clip((y - low) / (high - low + 1e-6), 0, 1)
            uv[mine] = np.stack([along, across], 1)
            lift[mine] = _BROW_TILT * (0.7 - along)
        shift = np.zeros((len(points), 3), np.float32)
        shift[mesh.faces.ravel(), 1] = lift[mesh.face_texture.ravel()]
        return self._worn(name, body, Material.BROW, texture=uv, shift=shift)

    def _lashes(self, body: Floats) -> Part:
        """Lashes with texture (angle around the eye, distance from the lid)."""
        name = "eyelashes/eyelashes01"
        garment = self._garment(name)
        mesh = garment.mesh
        points = garment.fit(body)
        skin = body[self.head.group_points("body")]
        distance, _ = cKDTree(skin).query(points)
        uv = np.zeros((len(mesh.texture), 2), np.float32)
        eye = np.abs(body[self.head.group_points("helper-l-eye")]).mean(0)
        angle = np.arctan2(points[:, 1] - eye[1], np.abs(points[:, 0]) - eye[0]) / 6.2832
        values = np.stack([angle, np.clip(distance / 0.09, 0, 1)], 1).astype(np.float32)
        uv[mesh.face_texture.ravel()] = values[mesh.faces.ravel()]
        return self._worn(name, body, Material.LASH, texture=uv)

    def _assemble(self, parts: list[Part], body: Floats) -> Figure:
        joined = join(parts)
        rest = (joined.weights @ body + joined.offsets).astype(np.float32)
        material = joined.material
        visible = seen(rest, joined.triangles, material, self._joint(body, "joint-neck"))
        triangles = joined.triangles[visible]
        moves = np.stack([self._move(name, joined.weights) for name in DRIVEN])
        marks = self._landmarks(body, rest, material)
        lips = np.linalg.norm(moves[DRIVEN.index("mouthFunnel")], axis=1)
        lips[material != Material.SKIN] = 0.0
        return Figure(
            rest=rest,
            moves=moves,
            triangles=triangles,
            texture=joined.texture,
            material=material,
            turns=turning(rest, material, marks),
            normal_sum=normal_sum(joined, triangles),
            weld=joined.weld,
            mouth_points=np.flatnonzero(lips > 0.5 * lips.max()),
            landmarks=marks,
        )

    def _move(self, name: str, weights: sparse.csr_matrix) -> Floats:
        body = np.zeros((self.head.points, 3), np.float32)
        for unit, share in parts_of(name):
            index, moved = self.head.unit(unit)
            body[index] += np.float32(share) * moved
        out: Floats = (weights @ body).astype(np.float32)
        return out

    def _landmarks(self, body: Floats, rest: Floats, material: NDArray[np.int64]) -> Landmarks:
        eyes = [body[self.head.group_points(f"helper-{side}-eye")] for side in "rl"]
        centres = [(eye.min(0) + eye.max(0)) / 2 for eye in eyes]
        index, moved = self.head.unit("jawOpen")
        drop = -moved[:, 1]
        jaw = index[(drop > 0.6 * drop.max()) & (np.abs(self.head.mesh.points[index, 0]) < 0.06)]
        jaw = np.intersect1d(jaw, self.head.group_points("body"))
        head = np.isin(material, (Material.SKIN, Material.HAIR))
        near = head & (np.abs(rest[:, 0]) < 0.8)
        return Landmarks(
            neck=self._joint(body, "joint-neck"),
            skull=self._joint(body, "joint-head"),
            eyes=(centres[0], centres[1]),
            eye_radius=float(np.ptp(eyes[0], axis=0).max()) / 2,
            mouth=self._joint(body, "joint-mouth"),
            chin=body[jaw[np.argmin(body[jaw, 1])]],
            brow_height=float(rest[material == Material.BROW, 1].mean()),
            crown_height=float(rest[near, 1].max()),
        )
