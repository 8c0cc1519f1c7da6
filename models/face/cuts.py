"""Where a face is cut open: along the lips, whose line is searched in it, and the lids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from models.face.landmarks import INNER_LIPS
from models.face.texture import LUMA, FaceTexture, Floats, sample

UPPER_LIP, LOWER_LIP = INNER_LIPS
CORNERS = (61, 291)
LIDS = (
    ((33, 246, 161, 160, 159, 158, 157, 173, 133), (33, 7, 163, 144, 145, 153, 154, 155, 133)),
    ((362, 398, 384, 385, 386, 387, 388, 466, 263), (362, 382, 381, 380, 374, 373, 390, 249, 263)),
)
"""Upper and lower lid of the picture's left and right eye, from left to right."""
AJAR, OPEN, BRIGHT = 0.05, 0.13, 1.12
"""Lips are parted where the gap over the width is beyond OPEN, or beyond AJAR with something in it
that is BRIGHT against the lips: teeth."""
_REACH = 4.0
"""Pixels around the landmarks in which the lips' line is searched."""


@dataclass(frozen=True)
class Slit:
    """A cut from corner to corner, in a frame of its own: x along it, y towards its lower side.

    Attributes:
        origin: [2], crop pixels.
        axes: unit vectors x and y, [2, 2].
        x: [K], from corner to corner.
        upper, lower: y of the two edges [K], equal at the corners.
        parted: whether something shows between the edges at rest.
    """

    origin: Floats
    axes: Floats
    x: Floats
    upper: Floats
    lower: Floats
    parted: bool

    def local(self, places: Floats) -> Floats:
        """Crop pixels [..., 2] to the slit's frame."""
        local: Floats = (places - self.origin) @ self.axes.T
        return local

    def world(self, places: Floats) -> Floats:
        """Points [..., 2] of the slit's frame to crop pixels."""
        world: Floats = places @ self.axes + self.origin
        return world

    def edges(self) -> tuple[Floats, Floats]:
        """Upper and lower edge in crop pixels, each [K, 2]."""
        return self.world(np.column_stack([self.x, self.upper])), self.world(
            np.column_stack([self.x, self.lower])
        )

    @property
    def half(self) -> float:
        """Half its width, pixels."""
        return float(self.x[-1] - self.x[0]) / 2


def _slit_between(upper: Floats, lower: Floats) -> Slit:
    """The slit between two edges [N, 2] from corner to corner, crop pixels; K about its width."""
    left, right = upper[0], upper[-1]
    across = (right - left) / np.linalg.norm(right - left)
    axes = np.array([across, [-across[1], across[0]]])
    origin = (left + right) / 2
    a, b = (upper - origin) @ axes.T, (lower - origin) @ axes.T
    count = max(12, round(2 * abs(a[-1, 0]))) + 1
    x = np.linspace(a[0, 0], a[-1, 0], count)
    u, v = _curve(a, x), _curve(b, x)
    u[[0, -1]] = v[[0, -1]] = (u[[0, -1]] + v[[0, -1]]) / 2
    return Slit(origin, axes, x, np.minimum(u, v), np.maximum(u, v), False)


def _curve(knots: Floats, x: Floats) -> Floats:
    """A smooth curve through knots [N, 2], at x [K]."""
    order = np.argsort(knots[:, 0])
    knots = knots[order]
    keep = np.concatenate([[True], np.diff(knots[:, 0]) > 0.05])
    curve: Floats = gaussian_filter1d(
        PchipInterpolator(knots[keep, 0], knots[keep, 1])(x), 1.0, mode="nearest"
    )
    return curve


def mouth_slit(face: FaceTexture) -> Slit:
    """The lips' line, or their two inner edges where the picture shows them parted."""
    upper, lower = (face.marks[list(lip), :2].copy() for lip in (UPPER_LIP, LOWER_LIP))
    for lip in (upper, lower):  # the landmarks' inner corners lie inside the true ones
        lip[[0, -1]] = 0.35 * lip[[0, -1]] + 0.65 * face.marks[list(CORNERS), :2]
    first = _slit_between(upper, lower)
    if not _is_parted(face, first):
        line = _follow(face, first, (first.upper + first.lower) / 2, _brightness)
        return replace(first, upper=line, lower=line.copy())
    u = _follow(face, first, first.upper, _falling_red)
    v = _follow(face, first, first.lower, _rising_red)
    u, v = np.minimum(u, v), np.maximum(u, v)
    taper = np.clip((first.half - np.abs(first.x)) / 4.0, 0, 1)
    middle = (u + v) / 2
    return replace(
        first,
        upper=middle + (u - middle) * taper,
        lower=middle + (v - middle) * taper,
        parted=True,
    )


def _is_parted(face: FaceTexture, slit: Slit) -> bool:
    """Whether the picture shows something between the lips."""
    inner = slice(len(slit.x) // 4, -(len(slit.x) // 4))
    u, v = slit.upper[inner], slit.lower[inner]
    gap = float((v - u).mean()) / (2 * slit.half)

    def brightness(y: Floats) -> float:
        places = slit.world(np.column_stack([slit.x[inner], y]))
        return float(_brightness(face.colours(places)).mean())

    lips = (brightness(u - 2.5) + brightness(v + 2.5)) / 2
    between = max(brightness(u + share * (v - u)) for share in (0.35, 0.5, 0.65))
    return gap > OPEN or (gap > AJAR and between > BRIGHT * lips)


def lid_slits(face: FaceTexture) -> tuple[Slit, Slit]:
    """Both eyes' openings, cut just inside the upper lid, so that its lashes go with it."""
    out = []
    for upper, lower in LIDS:
        slit = _slit_between(face.marks[list(upper), :2], face.marks[list(lower), :2])
        gap = slit.lower - slit.upper
        upper_edge = slit.upper + np.minimum(0.7, 0.3 * gap)
        lower_edge = slit.lower + np.minimum(0.7, 0.2 * gap)
        out.append(replace(slit, upper=upper_edge, lower=lower_edge, parted=True))
    return out[0], out[1]


def _follow(
    face: FaceTexture, slit: Slit, start: Floats, cost_of: Callable[[Floats], Floats]
) -> Floats:
    """The cheapest smooth line near ``start``, by dynamic programming.

    Args:
        start: y of the slit's frame [K].
        cost_of: from colours [K, N, 3] in 0..1, at N heights around the start, to costs [K, N].
    """
    offsets = np.arange(-_REACH, _REACH + 0.01, 0.25)
    places = np.stack(np.broadcast_arrays(slit.x[:, None], start[:, None] + offsets), -1)
    soft = np.asarray(cv2.GaussianBlur(face.texture[..., :3], (0, 0), 1.0), np.uint8)
    cost = cost_of(sample(soft, slit.world(places)).astype(np.float64) / 255.0)
    cost = cost / (cost.std() + 1e-6) + 0.10 * (offsets / 1.5) ** 2
    ease = np.clip((slit.half - np.abs(slit.x)) / 5.0, 0.15, 1.0)
    cost = cost + (1 / ease - 1)[:, None] * 0.15 * offsets**2  # corners stay at the landmarks
    path = cheapest_path(cost, 2.0 * (offsets[:, None] - offsets) ** 2 / 0.25)
    line: Floats = start + gaussian_filter1d(offsets[path], 1.5, mode="nearest")
    return line


def cheapest_path(cost: Floats, step: Floats) -> NDArray[np.int64]:
    """The column of each row, [N], at the least sum of costs [N, R] and of steps, by column [R, R].

    Found by dynamic programming (Viterbi 1967).
    """
    total, back = cost[0], []
    for row in cost[1:]:
        ways = total[:, None] + step
        back.append(ways.argmin(0))
        total = ways.min(0) + row
    path = [int(total.argmin())]
    for row in reversed(back):
        path.append(int(row[path[-1]]))
    return np.array(path[::-1])


def _brightness(colours: Floats) -> Floats:
    brightness: Floats = colours @ LUMA
    return brightness


def _red(colours: Floats) -> Floats:
    """High on lips, low on teeth; plain darkness where there is no colour."""
    return 1.5 * (colours[..., 0] - colours[..., 1]) - 0.7 * _brightness(colours)


def _falling_red(colours: Floats) -> Floats:
    return np.asarray(np.gradient(_red(colours), axis=1))


def _rising_red(colours: Floats) -> Floats:
    return -np.asarray(np.gradient(_red(colours), axis=1))


def at_edge(x: Floats, edge: Floats) -> Floats:
    """Heights [N] at places x [N] of an edge [K, 2], all in a slit's frame."""
    order = np.argsort(edge[:, 0])
    return np.asarray(np.interp(x, edge[order, 0], edge[order, 1]))
