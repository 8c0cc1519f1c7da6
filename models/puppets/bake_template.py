"""Bakes ``template.npz``: how a face moves, read off the project's own 3D heads.

Several neutral heads are rendered and the landmark network looks at them. For each of its 468
points the skin under it is known, so points and blendshapes correspond exactly, without other data.

python -m models.puppets.bake_template ASSETS
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from models.face.cuts import LOWER_LIP, UPPER_LIP
from models.face.portrait import find_face
from models.face.texture import Floats
from models.mini.motion import MOTION, MOUTH_UNITS
from models.puppets.template import TEMPLATE
from models.synth.appearance import sample_appearance
from models.synth.assets import Assets, open_assets
from models.synth.blendshapes import ARKIT_BLENDSHAPES
from models.synth.camera import frame_head
from models.synth.character import Character, Material
from models.synth.character_builder import CharacterBuilder
from models.synth.renderer import Renderer

HEADS = (20, 15, 16, 3, 8, 11, 22, 27)
"""Identities of the synthetic heads that are averaged."""
PICTURE_SIDE = 512
AXES = np.array([100.0, -100.0, -100.0])
"""From the head's decimetres (y up, z to the front) to the template's millimetres."""
FRONT = 6.0
"""Depth of the front teeth, millimetres."""
_JAW = ARKIT_BLENDSHAPES.index("jawOpen")


@dataclass(frozen=True)
class MeasuredHead:
    """One head, millimetres from the middle between its eyes.

    Attributes:
        rest, moves: of the skin, [S, 3] and [52, S, 3].
        marks: landmarks [468, 3].
        mouth: lowest upper tooth, its depth, highest lower front tooth, its depth, half the upper
            row's width, how far the jaw takes the lower front teeth (3), the tongue's middle (3),
            its top: [12].
        joints: neck, skull, chin, [3, 3].
        seen: points of the skin that a camera in front sees, bool [S].
    """

    rest: Floats
    moves: Floats
    marks: Floats
    mouth: Floats
    joints: Floats
    seen: NDArray[np.bool_]


def measure_head(
    assets: Assets, renderer: Renderer, builder: CharacterBuilder, identity: int
) -> MeasuredHead:
    """Render a head without hair at rest, and find the skin under its landmarks."""
    appearance = sample_appearance(identity, assets.lights)
    outfit = replace(appearance.outfit, hair=None, smile=0.0)
    appearance = replace(
        appearance, outfit=outfit, camera_yaw=0.0, camera_pitch=0.0, shift=(0.0, 0.0)
    )
    drawn = renderer.load(appearance)
    still = drawn.render(np.zeros(len(MOUTH_UNITS), np.float32), np.zeros(len(MOTION), np.float32))
    drawn.release()
    found = find_face(still.rgb).points
    head = builder.build(appearance.head_shape, outfit)
    skin = np.flatnonzero(head.material == Material.SKIN)
    seen = visible_points(head, skin)
    camera = frame_head(head.landmarks, yaw=0.0, pitch=0.0, shift=(0.0, 0.0))
    far, near = cKDTree(camera.project(head.rest[seen], PICTURE_SIDE)).query(found[:, :2], k=4)
    share = 1.0 / (far + 0.3)
    share /= share.sum(1, keepdims=True)
    centre = np.mean(head.landmarks.eyes, 0)
    place, moves = (head.rest - centre) * AXES, head.blendshapes * AXES
    joints = [head.landmarks.neck, head.landmarks.skull, head.landmarks.chin]
    return MeasuredHead(
        place[skin],
        moves[:, skin],
        (place[seen][near] * share[..., None]).sum(1),
        measure_mouth(head, place, moves),
        (np.stack(joints) - centre) * AXES,
        np.isin(skin, seen),
    )


def measure_mouth(head: Character, place: Floats, moves: Floats) -> Floats:
    """``MeasuredHead.mouth`` of points [N, 3] and their displacements [52, N, 3]."""
    teeth, tongue = head.material == Material.TEETH, head.material == Material.TONGUE
    drop = moves[_JAW, :, 1]
    upper, lower = teeth & (drop < 3.0), teeth & (drop >= 3.0)
    front = lower & (place[:, 2] < place[lower, 2].min() + FRONT)
    return np.array(
        [
            place[upper, 1].max(),
            place[upper, 2].min(),
            place[front, 1].min(),
            place[lower, 2].min(),
            np.ptp(place[upper, 0]) / 2,
            *moves[_JAW, front].mean(0),
            *place[tongue].mean(0),
            place[tongue, 1].min(),
        ]
    )


def visible_points(head: Character, skin: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of the points ``skin`` that a camera in front sees."""
    triangles = head.triangles[head.material[head.triangles[:, 0]] == Material.SKIN]
    mesh: Any = trimesh.Trimesh(head.rest, triangles, process=False)
    start = head.rest[skin].copy()
    depth = start[:, 2].copy()
    start[:, 2] += 5.0
    way = np.tile([0.0, 0.0, -1.0], (len(start), 1))
    place, ray, _ = mesh.ray.intersects_location(start, way, multiple_hits=False)
    hit = np.full(len(start), 1e9)
    hit[ray] = place[:, 2]
    return skin[(hit < depth + 0.012) & np.isin(skin, triangles)]


def split_at_lips(
    rest: Floats, moves: Floats, marks: Floats
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which points [S, 3] lie below the closed lips' line, and which are to be used.

    Near the line the jaw tells: it takes the lower lip along. Points of one side beyond the line
    belong to the mouth's inside and are left out.
    """
    seam = (marks[list(UPPER_LIP)] + marks[list(LOWER_LIP)]) / 2
    off = rest[:, 1] - np.interp(rest[:, 0], seam[:, 0], seam[:, 1])
    lower = off > 0
    drop = moves[_JAW, :, 1]
    within = (rest[:, 0] > seam[0, 0] + 2) & (rest[:, 0] < seam[-1, 0] - 2)
    for k in np.flatnonzero(within & (np.abs(off) < 5.0)):
        column = np.abs(rest[:, 0] - rest[k, 0]) < 2.0
        high, low = drop[column & (off < -2) & (off > -5)], drop[column & (off > 2) & (off < 6)]
        if len(high) and len(low):
            lower[k] = drop[k] > (np.median(high) + np.median(low)) / 2
    inside = (~lower & (off > 1.0)) | (lower & (off < -1.0))
    return lower, ~(within & inside & (np.abs(off) < 9.0))


def bake(assets: Assets, out: Path) -> None:
    """Measure all heads and write their mean."""
    renderer = Renderer(assets, PICTURE_SIDE)
    builder = CharacterBuilder(assets, ARKIT_BLENDSHAPES)
    heads = [measure_head(assets, renderer, builder, identity) for identity in HEADS]
    rest, moves, marks, mouth, joints = (
        np.mean([getattr(head, name) for head in heads], 0)
        for name in ("rest", "moves", "marks", "mouth", "joints")
    )
    index = np.flatnonzero(heads[-1].seen)
    index = index[np.unique(np.round(rest[index], 3), axis=0, return_index=True)[1]]
    rest, moves = rest[index], moves[:, index]
    lower, used = split_at_lips(rest, moves, marks)
    np.savez_compressed(
        out,
        rest=rest[used].astype(np.float32),
        moves=moves[:, used].astype(np.float32),
        lower=lower[used],
        marks=marks.astype(np.float32),
        mouth=mouth.astype(np.float32),
        joints=joints.astype(np.float32),
        units=np.array(ARKIT_BLENDSHAPES),
    )


if __name__ == "__main__":
    bake(open_assets(Path(sys.argv[1])), TEMPLATE)
