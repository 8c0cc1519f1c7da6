"""How light on the skin changes as it folds: the photo's light, estimated from the photo."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.sparse import coo_matrix

from models.face.cuts import Slit
from models.face.landmarks import FACE_OVAL
from models.face.texture import LUMA, Floats
from models.puppets.photo import Photo
from models.puppets.skin import Skin

MOST = 0.22
"""Largest change of brightness, either way."""
LIPS_BRIGHTER = 0.04
"""The largest on lips, upwards: pressed lips, which the template folds sharply, would shine."""
LIPS_REACH = 12.0
"""How far from the lips' line that holds in full, crop pixels; at twice that it no longer does."""


class Relief:
    """Brightness of the skin's V points against rest."""

    def __init__(self, photo: Photo, skin: Skin, mouth: Slit, eyes: tuple[Slit, Slit]) -> None:
        rest, faces = skin.rest, skin.faces
        self._faces, self._average = faces, skin.average
        columns = np.repeat(np.arange(len(faces)), 3)
        self._sum = coo_matrix(
            (np.ones(len(columns)), (faces.ravel(), columns)), shape=(len(rest), len(faces))
        ).tocsr()
        oval = photo.marks[list(FACE_OVAL), :2].astype(np.float32)
        inner = np.array(
            [cv2.pointPolygonTest(oval, (float(x), float(y)), True) for x, y in rest[:, :2]]
        )
        plain = inner > 6
        for slit, room in ((mouth, 10.0), *((eye, 9.0) for eye in eyes)):
            q = slit.local(rest[:, :2])
            plain &= (np.abs(q[:, 1]) > room) | (np.abs(q[:, 0]) > slit.half + room)
        bright = photo.colours(rest[:, :2]) @ np.array(LUMA)
        normal = self._normals(rest)
        known = np.column_stack([np.ones(len(rest)), normal])
        use = plain.copy()
        light = np.array([1.0, 0.0, 0.0, 0.0])
        for _ in range(4):  # hair, spots and cast shadows are no shading
            pull = 0.02 * use.sum() * np.diag([0.0, 1.0, 1.0, 1.0]) * bright[use].mean() ** 2
            light = np.linalg.solve(known[use].T @ known[use] + pull, known[use].T @ bright[use])
            off = np.abs(known @ light - bright)
            use = plain & (off < 1.6 * np.median(off[plain]) + 0.01)
        self._light = light
        self._share = np.clip((inner + 2.0) / 14.0, 0, 1)
        q = mouth.local(rest[:, :2])
        line = np.interp(q[:, 0], mouth.x, (mouth.upper + mouth.lower) / 2)
        off = np.hypot(np.maximum(np.abs(q[:, 0]) - mouth.half, 0), q[:, 1] - line)
        self._most = np.interp(off, (LIPS_REACH, 2 * LIPS_REACH), (LIPS_BRIGHTER, MOST))
        self._still = self._shade(rest + skin.base)

    def _normals(self, points: Floats) -> Floats:
        """Smooth unit normals [V, 3]."""
        corner = points[self._faces]
        area = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        total = self._sum @ (area * np.sign(area[:, 2:] + 1e-9))
        total = self._average @ (self._average @ total)
        normals: Floats = total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)
        return normals

    def _shade(self, points: Floats) -> Floats:
        """Light of Lambertian skin, [V]."""
        shade = self._light[0] + self._normals(points) @ self._light[1:]
        floor = 0.25 * float(np.abs(self._light).sum())
        return np.asarray(np.maximum(shade, floor))

    def __call__(self, points: Floats) -> Floats:
        """Factors [V], 1 at rest, for points [V, 3] as they are now."""
        ratio = self._shade(points) / self._still
        out: Floats = 1.0 + np.clip(ratio - 1.0, -MOST, self._most) * self._share
        return out
