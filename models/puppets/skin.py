"""The mesh over a photo: points, triangles, and how far each blendshape takes each point."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.sparse import coo_matrix, csr_matrix
from scipy.spatial import Delaunay, cKDTree

from models.face.closed_mouth import closing
from models.face.cuts import LOWER_LIP, UPPER_LIP, Slit
from models.face.geometry import ease
from models.face.landmarks import FACE_OVAL
from models.face.texture import MARGIN, SIDE, Floats
from models.puppets.photo import Photo
from models.puppets.rims import Rim, loose, room_at
from models.puppets.template import Template
from models.synth.blendshapes import ARKIT_BLENDSHAPES

Ints = NDArray[np.int64]
BROWS = ((70, 63, 105, 66, 107), (336, 296, 334, 293, 300))
CHIN = 152
OUTLINE_SMOOTHING = 24
"""Rounds of smoothing at the face's outline, where depth and motion would else show folds."""
LID_SHARE = 0.90
"""Of a closing eye's way, the upper lid's part."""
LEAST_ROOM = 2.0
"""Crop pixels beyond a lid's edge that follow it even where a rim lies nearer."""
JAW = ARKIT_BLENDSHAPES.index("jawOpen")
BLINKS = ARKIT_BLENDSHAPES.index("eyeBlinkRight"), ARKIT_BLENDSHAPES.index("eyeBlinkLeft")
"""Of the picture's left and right eye."""
_LOOKS = [k for k, name in enumerate(ARKIT_BLENDSHAPES) if name.startswith("eyeLook")]


@dataclass(frozen=True)
class Skin:
    """V points at rest, as they lie in the photo.

    Attributes:
        rest: [V, 3], crop pixels.
        moves: displacements [52, V, 3], one for each of ``ARKIT_BLENDSHAPES``.
        base: displacements [V, 3] that close parted lips.
        faces: triangles [F, 3].
        pairs: upper and lower point at each of K places along the lips, [K, 2].
        pull: how much points near the lips follow those, sparse [V, K].
        near: the places that points close to the lips lie at, sparse [V, K]; rows sum to 1 or 0.
        side: -1 above the lips, 1 below, [V].
        carriers: the point that each landmark goes with, [468].
        average: mean of each point's neighbours, sparse [V, V].
    """

    rest: Floats
    moves: Floats
    base: Floats
    faces: Ints
    pairs: Ints
    pull: csr_matrix
    near: csr_matrix
    side: Floats
    carriers: Ints
    average: csr_matrix


def build_skin(
    photo: Photo,
    template: Template,
    mouth: Slit,
    eyes: tuple[Slit, Slit],
    rims: tuple[Rim, Rim] | None,
) -> Skin:
    """Lay the mesh and read the blendshapes' displacements off the template.

    Where ``rims`` of glasses lie nothing moves.
    """
    plane, faces, pairs = _triangulate(photo, mouth, eyes, rims)
    side = _sides(plane, mouth, pairs)
    moves = _moves(photo, template, mouth, plane, side)
    average = _neighbour_average(faces, len(plane))
    depth, rim = _depth(photo, template, plane), 0.6 * _near_outline(photo, plane)[:, None]
    values = np.concatenate([moves.transpose(1, 0, 2).reshape(len(plane), -1), depth[:, None]], 1)
    for turn in range(OUTLINE_SMOOTHING):
        share = np.maximum(rim, 0.4) if turn < 2 else rim  # all of the face a little
        values += share * (average @ values - values)
    moves = values[:, :-1].reshape(len(plane), -1, 3).transpose(1, 0, 2).copy()
    moves[_LOOKS] = 0.0  # the eyes' own grids look about
    moves *= loose(plane, rims)[:, None]
    for k, (unit, eye, brow) in enumerate(zip(BLINKS, eyes, BROWS, strict=True)):
        moves[unit] = _blink(photo, eye, brow, plane, rims and rims[k])
    rest = np.column_stack([plane, values[:, -1]])
    pull, near = _followers(mouth, plane, side)
    base = _closing(photo, mouth, plane, side)
    carriers = _carriers(photo.marks[:, :2], plane, side, np.unique(faces))
    return Skin(rest, moves, base, faces, pairs, pull, near, side, carriers, average)


def _carriers(marks: Floats, plane: Floats, side: Floats, skin: Ints) -> Ints:
    """The nearest point of each landmark, on its own side of the lips."""
    wanted = np.zeros(len(marks))
    wanted[list(UPPER_LIP[1:-1])], wanted[list(LOWER_LIP[1:-1])] = -1, 1
    _, nearest = cKDTree(plane[skin]).query(marks, k=40)
    nearest = skin[nearest]
    wrong = (wanted[:, None] != 0) & (side[nearest] != wanted[:, None])
    out: Ints = nearest[np.arange(len(marks)), wrong.argmin(1)]
    return out


def _spacing(
    photo: Photo,
    mouth: Slit,
    eyes: tuple[Slit, Slit],
    rims: tuple[Rim, Rim] | None,
    places: Floats,
) -> Floats:
    """Wanted distance between points, pixels."""
    oval = photo.marks[list(FACE_OVAL), :2].astype(np.float32)
    q = mouth.local(places)
    out = np.full(len(places), 16.0)
    far = np.array([-cv2.pointPolygonTest(oval, (float(x), float(y)), True) for x, y in places])
    out[far < 45] = 8.0
    out[far < 8] = 4.0
    out[(np.abs(q[:, 0]) < mouth.half + 12) & (np.abs(q[:, 1]) < 22)] = 2.0
    for eye in eyes:
        e = eye.local(places)
        out[(np.abs(e[:, 0]) < eye.half + 6) & (e[:, 1] > -18) & (e[:, 1] < 12)] = 2.0
    out[(far < 0) & (loose(places, rims) < 1)] = 2.0
    return out


def _triangulate(
    photo: Photo, mouth: Slit, eyes: tuple[Slit, Slit], rims: tuple[Rim, Rim] | None
) -> tuple[Floats, Ints, Ints]:
    """Points [V, 2], dense at lips and lids, triangles [F, 3] and ``Skin.pairs``."""
    grid = np.stack(np.meshgrid(*[np.arange(-MARGIN, SIDE + MARGIN + 1, 2.0)] * 2), -1).reshape(
        -1, 2
    )
    wanted = _spacing(photo, mouth, eyes, rims, grid)
    keep = (grid % wanted[:, None] == 0).all(1)
    grid, wanted = grid[keep], wanted[keep]
    edges = []
    for slit in (mouth, *eyes):
        up, low = slit.edges()
        edges.append(up if not slit.parted else np.concatenate([up, low[1:-1]]))
    fixed = np.concatenate(edges)
    far, _ = cKDTree(fixed).query(grid)
    points = np.concatenate([fixed, grid[far > np.minimum(0.75 * wanted, 1.4)]])
    triangles = Delaunay(points).simplices.astype(np.int64)
    corner = points[triangles]
    one, other = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    area = np.abs(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0])
    triangles = triangles[area > 1e-3]
    middle = points[triangles].mean(1)
    inside = [_between(slit, middle) for slit in (mouth, *eyes)]
    faces = triangles[~(inside[0] | inside[1] | inside[2])]
    count = len(mouth.x)
    upper = np.arange(count)
    if mouth.parted:
        lower = np.concatenate([[0], np.arange(count, 2 * count - 2), [count - 1]])
        return points, faces, np.column_stack([upper, lower])
    lower = upper.copy()
    lower[1:-1] = len(points) + np.arange(count - 2)
    twin = np.arange(len(points) + count - 2)
    twin[upper] = lower
    q = mouth.local(points[faces].mean(1))
    below = q[:, 1] > np.interp(q[:, 0], mouth.x, mouth.lower)
    faces[below] = twin[faces[below]]
    doubled = np.concatenate([points, points[upper[1:-1]]])
    return doubled, faces, np.column_stack([upper, lower])


def _between(slit: Slit, places: Floats) -> NDArray[np.bool_]:
    """Which places [N, 2] lie between the edges of a parted slit."""
    q = slit.local(places)
    inside = (q[:, 0] > slit.x[0]) & (q[:, 0] < slit.x[-1])
    high, low = np.interp(q[:, 0], slit.x, slit.upper), np.interp(q[:, 0], slit.x, slit.lower)
    out: NDArray[np.bool_] = inside & (q[:, 1] > high) & (q[:, 1] < low) & slit.parted
    return out


def _sides(plane: Floats, mouth: Slit, pairs: Ints) -> Floats:
    """Which side of the lips' line points lie on: ``Skin.side``."""
    q = mouth.local(plane)
    line = np.interp(q[:, 0], mouth.x, (mouth.upper + mouth.lower) / 2)
    side = np.where(q[:, 1] > line, 1.0, -1.0)
    side[pairs[:, 0]], side[pairs[:, 1]] = -1.0, 1.0
    return side


def _moves(photo: Photo, template: Template, mouth: Slit, plane: Floats, side: Floats) -> Floats:
    """Displacements [52, V, 3] of the template under each point, in the photo's pose.

    They fade out around the face.
    """
    oval = _dense(photo.marks[list(FACE_OVAL), :2])
    off, nearest = cKDTree(oval).query(plane)
    polygon = oval.astype(np.float32)
    outer = np.array(
        [cv2.pointPolygonTest(polygon, (float(x), float(y)), False) < 0 for x, y in plane]
    )
    asked = np.where(outer[:, None], oval[nearest], plane)
    places = _to_template(photo, template, mouth, asked)
    above, below = template.field(places, False), template.field(places, True)
    q = mouth.local(asked)
    beyond = np.maximum(np.abs(q[:, 0] - (mouth.x[0] + mouth.x[-1]) / 2) - mouth.half, 0.0)
    line = np.interp(q[:, 0], mouth.x, (mouth.upper + mouth.lower) / 2)
    share = np.where(
        beyond > 0, 0.5 + 0.5 * np.clip((q[:, 1] - line) / (0.6 * beyond + 0.3), -1, 1), side > 0
    )
    field = above + (below - above) * share[:, None, None]
    reach = (
        np.where(plane[:, 1] > photo.marks[CHIN, 1] - 25 * photo.scale, 58.0, 34.0) * photo.scale
    )
    fade = np.where(outer, 1 - ease(off / reach), 1.0)
    turned: Floats = photo.scale * field @ photo.turn.T * fade[:, None, None]
    return turned.transpose(1, 0, 2)


def _to_template(photo: Photo, template: Template, mouth: Slit, places: Floats) -> Floats:
    """Crop pixels to the template's plane, by landmarks and the lips' line."""
    lips = set(UPPER_LIP) | set(LOWER_LIP)
    used = [k for k in range(468) if k not in lips]
    seam = (template.marks[list(UPPER_LIP), :2] + template.marks[list(LOWER_LIP), :2]) / 2
    knots = np.linspace(0, 1, 13)
    along = (seam[:, 0] - seam[0, 0]) / (seam[-1, 0] - seam[0, 0])
    wanted = np.column_stack([np.interp(knots, along, seam[:, k]) for k in (0, 1)])
    at = np.interp(knots, np.linspace(0, 1, len(mouth.x)), mouth.x)
    middle = (mouth.upper + mouth.lower) / 2
    here = mouth.world(np.column_stack([at, np.interp(at, mouth.x, middle)]))
    source = np.concatenate([photo.marks[used, :2], here])
    target = np.concatenate([template.marks[used, :2], wanted])
    warp = RBFInterpolator(source, target, smoothing=3.0, kernel="thin_plate_spline")
    return np.asarray(warp(places))


def _blink(
    photo: Photo, eye: Slit, brow: tuple[int, ...], plane: Floats, rim: Rim | None
) -> Floats:
    """Displacements [V, 3] of a blink: the upper lid comes down, the skin up to the brow follows.

    It follows no farther than to the rim of glasses.
    """
    out = np.zeros((len(plane), 3))
    q = eye.local(plane)
    high, low = np.interp(q[:, 0], eye.x, eye.upper), np.interp(q[:, 0], eye.x, eye.lower)
    gap = np.interp(q[:, 0], eye.x, eye.lower - eye.upper, 0.0, 0.0)
    crest = float(eye.local(photo.marks[list(brow), :2])[:, 1].mean())
    over, below = np.maximum(0.8 * (high - crest), 6.0), np.full(len(q), 9.0)
    if rim is not None:
        up, down = room_at(rim, eye, q[:, 0])
        over = np.clip(high + up, LEAST_ROOM, over)
        below = np.clip(down - low, LEAST_ROOM, below)
    above = 1 - ease(np.clip((high - q[:, 1]) / over, 0, 1) ** 0.8)
    under = 1 - ease((q[:, 1] - low) / below)
    upper = q[:, 1] < (high + low) / 2
    down = np.where(upper, LID_SHARE * gap * above, -(1 - LID_SHARE) * gap * under)
    near = (np.abs(q[:, 1]) < 40) & (np.abs(q[:, 0]) < eye.half)
    out[:, :2] = np.where(near, down, 0.0)[:, None] * eye.axes[1]
    return out


def _closing(photo: Photo, mouth: Slit, plane: Floats, side: Floats) -> Floats:
    """Displacements [V, 3] that close parted lips; zero where the photo shows them closed."""
    out = np.zeros((len(plane), 3))
    if mouth.parted:
        down = closing(photo, mouth, mouth.local(plane), side)
        out[:, :2] = down[:, None] * mouth.axes[1]
    return out


def _followers(mouth: Slit, plane: Floats, side: Floats) -> tuple[csr_matrix, csr_matrix]:
    """``Skin.pull`` and ``Skin.near``."""
    q, count = mouth.local(plane), len(mouth.x)
    at = np.clip(
        (q[:, 0] - mouth.x[0]) / (mouth.x[-1] - mouth.x[0]) * (count - 1), 0, count - 1.001
    )
    first = at.astype(int)
    share = at - first
    edge = np.where(
        side < 0, np.interp(q[:, 0], mouth.x, mouth.upper), np.interp(q[:, 0], mouth.x, mouth.lower)
    )
    away = np.abs(q[:, 1] - edge)
    within = (q[:, 0] >= mouth.x[0] - 0.01) & (q[:, 0] <= mouth.x[-1] + 0.01)

    def matrix(weight: Floats) -> csr_matrix:
        use = np.flatnonzero(weight > 1e-4)
        rows = np.concatenate([use, use])
        columns = np.concatenate([first[use], first[use] + 1])
        values = np.concatenate([weight[use] * (1 - share[use]), weight[use] * share[use]])
        return coo_matrix((values, (rows, columns)), shape=(len(plane), count)).tocsr()

    pull = np.where(within, 1 - ease(away / 9.0), 0.0)
    near = np.where(within & (away < 5.0), 1.0, 0.0)
    return matrix(pull), matrix(near)


def _depth(photo: Photo, template: Template, plane: Floats) -> Floats:
    """Depth of points [V]: the landmarks' in the face; hair and ears fall back to the neck."""
    oval = _dense(photo.marks[list(FACE_OVAL)])
    inner = RBFInterpolator(photo.marks[:, :2], photo.marks[:, 2], smoothing=20.0, neighbors=60)
    off, nearest = cKDTree(oval[:, :2]).query(plane)
    polygon = oval[:, :2].astype(np.float32)
    outer = np.array(
        [cv2.pointPolygonTest(polygon, (float(x), float(y)), False) < 0 for x, y in plane]
    )
    asked = np.where(outer[:, None], oval[nearest, :2], plane)
    depth: Floats = inner(asked)
    axis = photo.place(template.neck)[2]
    back = np.where(outer, ease(off / (45.0 * photo.scale)), 0.0)
    return np.asarray(depth + (axis - depth) * back * 0.85)


def _neighbour_average(faces: Ints, count: int) -> csr_matrix:
    """Means of neighbours [count, count], along the mesh and so never across a cut."""
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    both = np.concatenate([ends, ends[:, ::-1]])
    graph = coo_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), shape=(count, count)).tocsr()
    graph.data[:] = 1.0
    total = np.asarray(graph.sum(1)).ravel()
    return csr_matrix(graph.multiply(1.0 / np.maximum(total, 1)[:, None]))


def _near_outline(photo: Photo, plane: Floats) -> Floats:
    """1 on the face's outline and outside, 0 further in, [V]."""
    oval = _dense(photo.marks[list(FACE_OVAL), :2]).astype(np.float32)
    inner = np.array([cv2.pointPolygonTest(oval, (float(x), float(y)), True) for x, y in plane])
    return 1 - ease(inner / (18.0 * photo.scale))


def _dense(outline: Floats, times: int = 8) -> Floats:
    """A closed outline [N, D] with ``times`` as many points."""
    t = np.arange(len(outline) * times) / times
    closed = np.concatenate([outline, outline[:1]])
    return np.column_stack(
        [np.interp(t, np.arange(len(closed)), closed[:, k]) for k in range(closed.shape[1])]
    )
