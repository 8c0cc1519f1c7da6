"""Finds the rims of glasses around both eyes: what lies there stays where it is."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter, maximum_filter1d
from scipy.spatial import cKDTree

from models.face.cuts import Slit, cheapest_path
from models.face.geometry import ease
from models.face.texture import LUMA, FaceTexture, Floats, sample

RAYS = 120
"""From the middle of an eye."""
STEP = 0.5
"""Between places on a ray, crop pixels."""
NEAREST, FARTHEST = 3.0, 0.62
"""Where a rim may lie: crop pixels outside the lids; from the eye's middle, as a share of the
distance between the eyes."""
WIDTHS = (1.5, 3.0, 5.0, 7.5)
"""Half the widths of rims, crop pixels."""

ALIKE, UNLIKE = 0.5, 2.0
"""What the other eye's rim adds, as a share, and how much the two may differ, crop pixels."""
SMALLEST = 0.75
"""Least size of a rim, as a share of the other one's."""
CONTRAST = 0.08
"""Least log brightness of a rim against both sides."""
ROOM = 4.0
"""How far from a rim skin moves in full, crop pixels."""
_BEND, _LEAP = 0.05, 3
"""Price of a bend, and the largest step from ray to ray, in ``STEP``."""
_ANGLES = np.arange(RAYS) * 2 * np.pi / RAYS
_WAYS = np.column_stack([np.cos(_ANGLES), np.sin(_ANGLES)])
_BRIDGE = 50
"""Degrees of a rim, up from the nose, that the bridge may start from."""


@dataclass(frozen=True)
class Rim:
    """A closed line around an eye.

    Attributes:
        points: [RAYS, 2], crop pixels, clockwise from the side that x points to.
        half: half its width, crop pixels, [RAYS].
        seen: whether it stands out, bool [RAYS].
    """

    points: Floats
    half: Floats
    seen: NDArray[np.bool_]


def trace_rims(face: FaceTexture, eyes: tuple[Slit, Slit]) -> tuple[Rim, Rim]:
    """The strongest closed lines around the picture's left and right eye."""
    apart = float(np.linalg.norm(eyes[1].origin - eyes[0].origin))
    radii = np.arange(NEAREST, FARTHEST * apart, STEP)
    ridges = [_ridges(face, eye, radii) for eye in eyes]
    gains = [np.minimum(ridge, 0.5).mean(0) for ridge in ridges]
    mirror = (RAYS // 2 - np.arange(RAYS)) % RAYS
    paths = []
    for eye, gain, other in zip(eyes, gains, gains[::-1], strict=True):
        alike = maximum_filter(other[mirror], (3, round(2 * UNLIKE / STEP) + 1))
        edges = np.concatenate([eye.upper, eye.lower])
        lids = (np.column_stack([np.tile(eye.x, 2), edges]) @ _WAYS.T).max(0) + NEAREST
        cost = np.where(radii < lids[:, None], 0.2, -gain - ALIKE * alike)
        paths.append(_closed_path(cost))
    sizes = [float(radii[path].mean()) for path in paths]
    small = int(np.argmin(sizes))
    if sizes[small] < SMALLEST * max(sizes):  # a fold around a lid is no rim
        paths[small] = paths[1 - small][mirror]
    left, right = (_rim(eyes[k], radii, ridges[k], paths[k]) for k in (0, 1))
    return left, right


def loose(places: Floats, rims: tuple[Rim, Rim] | None) -> Floats:
    """How freely skin at places [N, 2] moves, [N]: 0 under the rims and their bridge."""
    out = np.ones(len(places))
    if rims is None:
        return out
    for rim in rims:
        ends = np.roll(rim.points, -1, 0)
        points = np.concatenate([rim.points, (rim.points + ends) / 2])
        seen, half = np.tile(rim.seen, 2), np.tile(rim.half, 2)
        if seen.any():
            off, k = cKDTree(points[seen]).query(places)
            out = np.minimum(out, ease((off - half[seen][k]) / ROOM))
    turn = round(_BRIDGE / 360 * RAYS)
    left, right = rims
    side = RAYS // 2
    nose = np.concatenate([left.points[[-turn, 0]], right.points[[side, side + turn]]])
    hull = cv2.convexHull(nose.astype(np.float32))
    inner = [cv2.pointPolygonTest(hull, (float(x), float(y)), True) for x, y in places]
    return np.asarray(np.minimum(out, ease(-np.array(inner) / ROOM)))


def room_at(rim: Rim, eye: Slit, x: Floats) -> tuple[Floats, Floats]:
    """How far up and down from the eye's middle line a rim begins, at x [N] of the eye's frame."""
    q = eye.local(rim.points)
    out = []
    for way in (-1.0, 1.0):
        use = (q[:, 1] * way > 0) & rim.seen
        if use.sum() < 2:
            out.append(np.full(len(x), np.inf))
            continue
        order = np.flatnonzero(use)[np.argsort(q[use, 0])]
        at, y = q[order, 0], q[order, 1] * way - rim.half[order]
        out.append(np.interp(x, at, y))
    return out[0], out[1]


def _ridges(face: FaceTexture, eye: Slit, radii: Floats) -> Floats:
    """How much places on the rays stand out against both sides, for each width, [W, RAYS, R]."""
    soft = np.asarray(cv2.GaussianBlur(face.texture[..., :3], (0, 0), 1.0), np.uint8)
    colours = sample(soft, eye.world(_WAYS[:, None] * radii[:, None])).astype(np.float64)
    light = np.log(colours @ LUMA / 255 + 0.08)
    columns = np.arange(len(radii))
    out = []
    for width in WIDTHS:
        k = round(width / STEP)
        inner = light - light[:, np.maximum(columns - k, 0)]
        outer = light - light[:, np.minimum(columns + k, len(radii) - 1)]
        ridge = np.minimum(np.abs(inner), np.abs(outer))
        out.append(np.where(inner * outer > 0, ridge, 0.0))
    return np.stack(out)


def _rim(eye: Slit, radii: Floats, ridges: Floats, path: NDArray[np.int64]) -> Rim:
    """The rim that ``path`` [RAYS] marks among the radii."""
    along = ridges[:, np.arange(RAYS), path]
    best = along.max(0)
    half = 0.8 * np.array(WIDTHS)[(along > 0.7 * best).argmax(0)]
    radius = gaussian_filter1d(radii[path], 1.0, mode="wrap")
    half = gaussian_filter1d(maximum_filter1d(half, 3, mode="wrap"), 1.0, mode="wrap")
    return Rim(eye.world(_WAYS * radius[:, None]), half, best > CONTRAST)


def _closed_path(cost: Floats) -> NDArray[np.int64]:
    """The cheapest smooth line through cost [N, R] that ends where it begins, [N]."""
    columns = np.arange(cost.shape[1])
    leap = np.abs(columns[:, None] - columns)
    step = np.where(leap <= _LEAP, _BEND * leap**2, np.inf)
    path = cheapest_path(np.concatenate([cost, cost, cost]), step)
    return path[len(cost) : 2 * len(cost)]
