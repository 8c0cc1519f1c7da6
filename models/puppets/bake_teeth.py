"""Bakes ``teeth.png``: two rows of teeth, seen from the front, of a scan-based head (ICT-FaceKit).

python -m models.puppets.bake_teeth ict_facekit_light.npz
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import trimesh
import trimesh.triangles
from numpy.typing import NDArray

from models.puppets.teeth import ABOVE_EDGE, BELOW_EDGE, DOTS, HALF_WIDTH, TEETH

GUMS, TEETH_RANGE = (14062, 17039), (17039, 21451)
"""Vertices of gums with tongue, and of the teeth, in ICT-FaceKit."""
LIGHT = np.array([0.15, 0.5, 0.85]) / np.linalg.norm([0.15, 0.5, 0.85])
OCCLUSION_RAYS = 48
MILLIMETRES = 10.0
GAP = 0.28
"""Half of the gap between the front teeth, which is closed, millimetres."""
GUMS_FROM = 3.0
"""Millimetres from the teeth's edges to where gums may begin."""


def bake_row(archive: dict[str, NDArray[np.float32]], lower: bool) -> NDArray[np.uint8]:
    """One row as uint8 [H, W, 4]: shade, gloss, gum, cover.

    The teeth's edges are near the bottom of the upper row and near the top of the lower one.

    Args:
        archive: the head's arrays.
        lower: which row.
    """
    vertices = archive["neutral"].astype(np.float64) * MILLIMETRES
    vertices[:, 0] -= np.sign(vertices[:, 0]) * np.minimum(np.abs(vertices[:, 0]), GAP)
    names = [str(name) for name in archive["expression_names"]]
    moved = archive["expression"][names.index("jawOpen")].astype(np.float64)[:, 1] < -0.5
    faces = archive["faces"]

    def part(span: tuple[int, int]) -> NDArray[np.int32]:
        own = ((faces >= span[0]) & (faces < span[1])).all(1)
        row: NDArray[np.int32] = faces[own & (moved[faces].all(1) == lower)]
        return row

    teeth, gums = part(TEETH_RANGE), part(GUMS)
    front = np.unique(teeth)
    incisors = front[np.abs(vertices[front, 0]) < 6]
    edge = vertices[incisors, 1].max() if lower else vertices[incisors, 1].min()
    used = np.concatenate([teeth, gums])
    mesh: Any = trimesh.Trimesh(vertices, used, process=False)
    width, height = round(2 * HALF_WIDTH * DOTS), round((ABOVE_EDGE + BELOW_EDGE) * DOTS)
    x = (np.arange(width) + 0.5) / DOTS - HALF_WIDTH
    y = (np.arange(height) + 0.5) / DOTS
    y = edge + (BELOW_EDGE if lower else ABOVE_EDGE) - y
    grid = np.stack(np.broadcast_arrays(x[None], y[:, None], np.full((1, 1), 300.0)), -1)
    rays = grid.reshape(-1, 3)
    way = np.tile([0.0, 0.0, -1.0], (len(rays), 1))
    hit, ray, face = mesh.ray.intersects_location(rays, way, multiple_hits=False)
    past = np.abs(hit[:, 1] - edge) < GUMS_FROM
    kept = (face < len(teeth)) | ~(past | ((hit[:, 1] > edge) == lower))  # no palate, no floor
    hit, ray, face = hit[kept], ray[kept], face[kept]
    weigh: Any = trimesh.triangles.points_to_barycentric  # untyped
    corners = weigh(mesh.triangles[face], hit)
    smooth = mesh.vertex_normals
    normal = (smooth[mesh.faces[face]] * corners[..., None]).sum(1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    open_sky = _occlusion(mesh, hit, normal)
    diffuse = 0.42 + 0.58 * np.clip(normal @ LIGHT, 0, 1)
    half = LIGHT + np.array([0.0, 0.0, 1.0])
    gloss = np.clip(normal @ (half / np.linalg.norm(half)), 0, 1) ** 60
    row = np.zeros((height * width, 4))
    row[ray, 0] = diffuse * (0.35 + 0.65 * open_sky)
    row[ray, 1] = gloss * open_sky
    row[ray, 2] = face >= len(teeth)
    row[ray, 3] = 1.0
    picture = row.reshape(height, width, 4)
    cover = picture[..., 3:]
    spread = cv2.GaussianBlur(picture * cover, (0, 0), 0.5 * DOTS / 8)
    known = np.maximum(spread[..., 3:], 1e-3)
    picture = np.dstack([spread[..., :3] / known, spread[..., 3]])
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def _occlusion(
    mesh: Any, places: NDArray[np.float64], normals: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share of the hemisphere over each place from which light comes."""
    rng = np.random.default_rng(3)
    free = np.zeros(len(places))
    for _ in range(OCCLUSION_RAYS):
        way = rng.normal(size=normals.shape)
        way = normals + way / np.linalg.norm(way, axis=1, keepdims=True)
        free += ~mesh.ray.intersects_any(places + 0.05 * normals, way)
    return free / OCCLUSION_RAYS


def main() -> None:
    """Write the file."""
    with np.load(sys.argv[1]) as stored:
        archive = {name: stored[name] for name in stored.files}
    rows = [bake_row(archive, lower) for lower in (False, True)]
    cv2.imwrite(str(TEETH), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGBA2BGRA))


if __name__ == "__main__":
    assert Path(sys.argv[1]).is_file(), f"expected ict_facekit_light.npz, got {sys.argv[1]}"
    main()
