"""Builds a character from head, eyes, teeth, brows, lashes, hair and clothes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from models.synth.assets import Assets
from models.synth.blendshapes import arkit_weights
from models.synth.character import (
    ANIMATED,
    Character,
    HeadLandmarks,
    Material,
    Outfit,
    is_below_neckline,
)
from models.synth.mesh import FittedMesh, Floats, read_fitted_mesh, subdivide
from models.synth.mesh_parts import (
    MeshPart,
    head_rotation_weights,
    make_mesh_part,
    merge_parts,
    normal_accumulator,
    visible_triangles,
)
from models.synth.morphable_head import HeadShape, MorphableHead

REST_EXPRESSION = (
    ("browInnerUp", 0.35),
    ("browOuterUpLeft", 0.25),
    ("browOuterUpRight", 0.25),
    ("eyeWideLeft", 0.1),
    ("eyeWideRight", 0.1),
    ("mouthSmileLeft", 0.16),
    ("mouthSmileRight", 0.16),
)
"""Blendshape weights added to every identity: the base mesh alone looks stern."""

HAIR_OFFSET = {"braid01": (0.0, 0.11, 0.01)}
"""Moves hair that would hang over an eye, decimetres."""
_TEETH_OFFSET = (0.0, -0.045, 0.0)
"""The mesh's upper teeth would stay behind the lip of an open mouth, decimetres."""
_BROW_TILT = 0.065
_BODY_BOTTOM = 4.6
_BODY_WIDTH = 2.9
_CLOTH_TOP = 6.4


class CharacterBuilder:
    """Builds characters; holds what they share: the head, fitted meshes and subdivided skin.

    Args:
        animated: blendshapes that the characters know; others than ``ANIMATED`` cannot be rendered.
    """

    def __init__(self, assets: Assets, animated: tuple[str, ...] = ANIMATED) -> None:
        self.head = MorphableHead(assets)
        self._animated = animated
        self._meshes = assets.meshes
        self._photographic = assets.photos is not None
        self._fitted_meshes: dict[str, FittedMesh] = {}
        self._skin = self._skin_part()

    def build(self, head_shape: HeadShape, outfit: Outfit) -> Character:
        """Build the character of a head shape with an outfit."""
        body = self.head.deform(head_shape)
        for name, weight in REST_EXPRESSION:
            smile = outfit.smile if name.startswith("mouthSmile") else 0.0
            index, displacement = self.head.blendshape(name)
            body[index] += np.float32(weight + smile) * displacement
        parts = [self._skin, *self._eyes(), self._tongue(), self._teeth(body), self._cloth(body)]
        parts.append(self._brows(outfit.brows, body))
        parts.append(self._lashes(outfit.lashes, body))
        if outfit.hair:
            shift = np.array(HAIR_OFFSET.get(outfit.hair, (0.0, 0.0, 0.0)), np.float32)
            parts.append(self._fitted_part(f"hair/{outfit.hair}", body, Material.HAIR, shift=shift))
        return self._make_character(parts, body)

    def _skin_part(self) -> MeshPart:
        mesh = self.head.mesh
        corners = mesh.points[mesh.faces]
        keep = self.head.group_faces("body")
        keep &= corners[:, :, 1].max(1) > _BODY_BOTTOM
        keep &= np.abs(corners[:, :, 0]).max(1) < _BODY_WIDTH
        subdivided = subdivide(
            mesh.faces[keep], mesh.face_texture[keep], len(mesh.points), len(mesh.texture)
        )
        return make_mesh_part(
            subdivided.points,
            None,
            subdivided.faces,
            subdivided.face_texture,
            (subdivided.texture @ mesh.texture).astype(np.float32),
            Material.SKIN,
        )

    def _group_part(self, keep: NDArray[np.bool_], material: Material) -> MeshPart:
        mesh = self.head.mesh
        same = sparse.identity(len(mesh.points), format="csr", dtype=np.float32)
        return make_mesh_part(
            same, None, mesh.faces[keep], mesh.face_texture[keep], mesh.texture, material
        )

    def _eyes(self) -> list[MeshPart]:
        names = ("helper-r-eye", "helper-l-eye")
        return [self._group_part(self.head.group_faces(name), Material.EYE) for name in names]

    def _tongue(self) -> MeshPart:
        return self._group_part(self.head.group_faces("helper-tongue"), Material.TONGUE)

    def _cloth(self, body: Floats) -> MeshPart:
        mesh = self.head.mesh
        corners = mesh.points[mesh.faces]
        keep = self.head.group_faces("helper-tights")
        keep &= (corners[:, :, 1].max(1) > 4.2) & (corners[:, :, 1].max(1) < _CLOTH_TOP)
        keep &= is_below_neckline(body[mesh.faces], self._joint(body, "joint-neck")).any(1)
        keep &= np.abs(corners[:, :, 0]).max(1) < _BODY_WIDTH + 0.3
        return self._group_part(keep, Material.CLOTH)

    def _joint(self, body: Floats, name: str) -> Floats:
        middle: Floats = body[self.head.group_points(name)].mean(0)
        return middle

    def _fitted_mesh(self, name: str) -> FittedMesh:
        if name not in self._fitted_meshes:
            self._fitted_meshes[name] = read_fitted_mesh(self._meshes / name, self.head.num_points)
        return self._fitted_meshes[name]

    def _fitted_part(
        self,
        name: str,
        body: Floats,
        material: Material,
        texture: Floats | None = None,
        keep: NDArray[np.bool_] | None = None,
        shift: Floats | None = None,
    ) -> MeshPart:
        fitted = self._fitted_mesh(name)
        mesh = fitted.mesh
        faces, face_texture = mesh.faces, mesh.face_texture
        if keep is not None:
            faces, face_texture = faces[keep], face_texture[keep]
        offsets = fitted.scaled_offsets(body)
        if shift is not None:
            offsets = offsets + shift
        uv = mesh.texture if texture is None else texture
        return make_mesh_part(fitted.weights, offsets, faces, face_texture, uv, material)

    def _teeth(self, body: Floats) -> MeshPart:
        """Only the outer faces: gums and inner sides are never seen."""
        name = "teeth/teeth_base"
        fitted = self._fitted_mesh(name)
        points = fitted.fit(body)[fitted.mesh.faces]
        middle = points.mean(1)
        normal = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
        outward = middle - np.array([0.0, 0.0, middle[:, 2].min()])
        outward[:, 1] = 0.0
        outward /= np.linalg.norm(outward, axis=1, keepdims=True) + 1e-9
        keep = (normal * outward).sum(1) > 0.1
        keep &= middle[:, 2] > np.quantile(middle[:, 2], 0.35)
        shift = np.array(_TEETH_OFFSET, np.float32)
        return self._fitted_part(name, body, Material.TEETH, keep=keep, shift=shift)

    def _brows(self, brows: str, body: Floats) -> MeshPart:
        """Brows; painted ones get coordinates (outwards from the nose, up) from their outline."""
        name = f"eyebrows/{brows}"
        mesh = self._fitted_mesh(name).mesh
        points = self._fitted_mesh(name).fit(body)
        uv = np.zeros((len(mesh.texture), 2), np.float32)
        positions = np.zeros((len(uv), 3), np.float32)
        lift = np.zeros(len(uv), np.float32)
        positions[mesh.face_texture.ravel()] = points[mesh.faces.ravel()]
        for side in (-1, 1):
            on_side = positions[:, 0] * side > 0
            x, y = np.abs(positions[on_side, 0]), positions[on_side, 1]
            along = (x - x.min()) / (np.ptp(x) + 1e-6)
            knots = np.linspace(0, 1, 10)
            near_knot = [np.abs(along - knot) < 0.14 for knot in knots]
            lowest = [y[m].min() if m.any() else y.min() for m in near_knot]
            highest = [y[m].max() if m.any() else y.max() for m in near_knot]
            lower, upper = np.interp(along, knots, lowest), np.interp(along, knots, highest)
            across = np.clip((y - lower) / (upper - lower + 1e-6), 0, 1)
            uv[on_side] = np.stack([along, across], 1)
            lift[on_side] = _BROW_TILT * (0.7 - along)
        shift = np.zeros((len(points), 3), np.float32)
        shift[mesh.faces.ravel(), 1] = lift[mesh.face_texture.ravel()]
        texture = None if self._photographic else uv
        return self._fitted_part(name, body, Material.BROW, texture=texture, shift=shift)

    def _lashes(self, lashes: str, body: Floats) -> MeshPart:
        """Lashes; painted ones get coordinates (angle around the eye, distance from the lid)."""
        name = f"eyelashes/{lashes}"
        if self._photographic:
            return self._fitted_part(name, body, Material.LASH)
        fitted = self._fitted_mesh(name)
        mesh = fitted.mesh
        points = fitted.fit(body)
        skin = body[self.head.group_points("body")]
        distance, _ = cKDTree(skin).query(points)
        uv = np.zeros((len(mesh.texture), 2), np.float32)
        eye = np.abs(body[self.head.group_points("helper-l-eye")]).mean(0)
        angle = np.arctan2(points[:, 1] - eye[1], np.abs(points[:, 0]) - eye[0]) / 6.2832
        values = np.stack([angle, np.clip(distance / 0.09, 0, 1)], 1).astype(np.float32)
        uv[mesh.face_texture.ravel()] = values[mesh.faces.ravel()]
        return self._fitted_part(name, body, Material.LASH, texture=uv)

    def _make_character(self, parts: list[MeshPart], body: Floats) -> Character:
        merged = merge_parts(parts)
        rest = (merged.weights @ body + merged.offsets).astype(np.float32)
        material = merged.material
        visible = visible_triangles(
            rest, merged.triangles, material, self._joint(body, "joint-neck")
        )
        triangles = merged.triangles[visible]
        blendshapes = np.stack([self._blendshape(name, merged.weights) for name in self._animated])
        landmarks = self._landmarks(body, rest, material)
        lips = np.linalg.norm(blendshapes[self._animated.index("mouthFunnel")], axis=1)
        lips[material != Material.SKIN] = 0.0
        return Character(
            rest=rest,
            blendshapes=blendshapes,
            triangles=triangles,
            texture=merged.texture,
            material=material,
            head_rotation_weights=head_rotation_weights(rest, material, landmarks),
            normal_accumulator=normal_accumulator(merged, triangles),
            weld=merged.weld,
            mouth_points=np.flatnonzero(lips > 0.5 * lips.max()),
            landmarks=landmarks,
        )

    def _blendshape(self, name: str, weights: sparse.csr_matrix) -> Floats:
        body = np.zeros((self.head.num_points, 3), np.float32)
        for arkit_name, weight in arkit_weights(name):
            index, displacement = self.head.blendshape(arkit_name)
            body[index] += np.float32(weight) * displacement
        out: Floats = (weights @ body).astype(np.float32)
        return out

    def _landmarks(self, body: Floats, rest: Floats, material: NDArray[np.int64]) -> HeadLandmarks:
        eyes = [body[self.head.group_points(f"helper-{side}-eye")] for side in "rl"]
        centres = [(eye.min(0) + eye.max(0)) / 2 for eye in eyes]
        index, displacement = self.head.blendshape("jawOpen")
        drop = -displacement[:, 1]
        jaw = index[(drop > 0.6 * drop.max()) & (np.abs(self.head.mesh.points[index, 0]) < 0.06)]
        jaw = np.intersect1d(jaw, self.head.group_points("body"))
        head = np.isin(material, (Material.SKIN, Material.HAIR))
        central = head & (np.abs(rest[:, 0]) < 0.8)
        return HeadLandmarks(
            neck=self._joint(body, "joint-neck"),
            skull=self._joint(body, "joint-head"),
            eyes=(centres[0], centres[1]),
            mouth=self._joint(body, "joint-mouth"),
            chin=body[jaw[np.argmin(body[jaw, 1])]],
            brow_height=float(rest[material == Material.BROW, 1].mean()),
            crown_height=float(rest[central, 1].max()),
        )
