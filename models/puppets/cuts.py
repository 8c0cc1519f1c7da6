"""Where a photo is cut open: along the lips, whose line is searched in the picture, and the lids."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from models.puppets.photo import FINE, MARGIN, Floats, Photo

UPPER_LIP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_LIP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
CORNERS = (61, 291)
LIDS = (
    ((33, 246, 161, 160, 159, 158, 157, 173, 133), (33, 7, 163, 144, 145, 153, 154, 155, 133)),
    ((362, 398, 384, 385, 386, 387, 388, 466, 263), (362, 382, 381, 380, 374, 373, 390, 249, 263)),
)
"""Upper and lower lid of the picture's left and right eye, from left to right."""
AJAR, OPEN, BRIGHT = 0.05, 0.13, 1.12
"""Lips are parted where the gap over the width is beyond OPEN, or beyond AJAR with something in it that
is BRIGHT against the lips: teeth."""
_REACH = 4.0
"""Pixels around the landmarks in which the lips' line is searched."""


@dataclass(frozen=True)
class Slit:
    """A cut from corner to corner, in a frame of its own: x along it, y towards its lower side.

    Attributes:
        origin: [2]; axes: [2, 2], rows are x and y; both in crop pixels.
        x: [K], from corner to corner; upper, lower: y of the two edges [K], equal at the corners.
        parted: whether something shows between the edges at rest.
    """

    origin: Floats
    axes: Floats
    x: Floats
    upper: Floats
    lower: Floats
    parted: bool

    def local(self, places: Floats) -> Floats:
        """Crop pixels [..., 2] in the slit's frame."""
        return (places - self.origin) @ self.axes.T

    def world(self, places: Floats) -> Floats:
        """The slit's frame in crop pixels."""
        return places @ self.axes + self.origin

    def edges(self) -> tuple[Floats, Floats]:
        """Upper and lower edge in crop pixels, each [K, 2]."""
        return self.world(np.column_stack([self.x, self.upper])), self.world(
            np.column_stack([self.x, self.lower])
        )

    @property
    def half(self) -> float:
        """Half its width."""
        return float(self.x[-1] - self.x[0]) / 2


def _frame(upper: Floats, lower: Floats, step: float) -> Slit:
    left, right = upper[0], upper[-1]
    across = (right - left) / np.linalg.norm(right - left)
    axes = np.array([across, [-across[1], across[0]]])
    origin = (left + right) / 2
    a, b = (upper - origin) @ axes.T, (lower - origin) @ axes.T
    count = max(12, round(2 * abs(a[-1, 0]) / step)) + 1
    x = np.linspace(a[0, 0], a[-1, 0], count)
    u, v = _curve(a, x), _curve(b, x)
    u[[0, -1]] = v[[0, -1]] = (u[[0, -1]] + v[[0, -1]]) / 2
    return Slit(origin, axes, x, np.minimum(u, v), np.maximum(u, v), False)


def _curve(knots: Floats, x: Floats) -> Floats:
    order = np.argsort(knots[:, 0])
    knots = knots[order]
    keep = np.concatenate([[True], np.diff(knots[:, 0]) > 0.05])
    return gaussian_filter1d(
        PchipInterpolator(knots[keep, 0], knots[keep, 1])(x), 1.0, mode="nearest"
    )


def mouth_slit(photo: Photo) -> Slit:
    """The lips' line, or their two inner edges where the photo shows them parted."""
    upper, lower = (photo.marks[list(lip), :2].copy() for lip in (UPPER_LIP, LOWER_LIP))
    for lip in (
        upper,
        lower,
    ):  # the inner corners of the landmarks lie a little inside the true ones
        lip[[0, -1]] = 0.35 * lip[[0, -1]] + 0.65 * photo.marks[list(CORNERS), :2]
    first = _frame(upper, lower, 1.0)
    if not _is_parted(photo, first):
        line = _follow(photo, first, (first.upper + first.lower) / 2, _darkness)
        return Slit(first.origin, first.axes, first.x, line, line.copy(), False)
    u = _follow(photo, first, first.upper, _falling_red)
    v = _follow(photo, first, first.lower, _rising_red)
    u, v = np.minimum(u, v), np.maximum(u, v)
    taper = np.clip((first.half - np.abs(first.x)) / 4.0, 0, 1)
    middle = (u + v) / 2
    return Slit(
        first.origin,
        first.axes,
        first.x,
        middle + (u - middle) * taper,
        middle + (v - middle) * taper,
        True,
    )


def _is_parted(photo: Photo, slit: Slit) -> bool:
    inner = slice(len(slit.x) // 4, -(len(slit.x) // 4))
    u, v = slit.upper[inner], slit.lower[inner]
    gap = float((v - u).mean()) / (2 * slit.half)

    def brightness(y: Floats) -> float:
        return float(
            _darkness(photo.colours(slit.world(np.column_stack([slit.x[inner], y])))).mean()
        )

    lips = (brightness(u - 2.5) + brightness(v + 2.5)) / 2
    between = max(brightness(u + share * (v - u)) for share in (0.35, 0.5, 0.65))
    return gap > OPEN or (gap > AJAR and between > BRIGHT * lips)


def lid_slits(photo: Photo) -> tuple[Slit, Slit]:
    """Both eyes' openings; the cut lies just inside the upper lid, so that its lashes go with it."""
    out = []
    for upper, lower in LIDS:
        slit = _frame(photo.marks[list(upper), :2], photo.marks[list(lower), :2], 1.0)
        gap = slit.lower - slit.upper
        out.append(
            Slit(
                slit.origin,
                slit.axes,
                slit.x,
                slit.upper + np.minimum(0.7, 0.3 * gap),
                slit.lower + np.minimum(0.7, 0.2 * gap),
                True,
            )
        )
    return out[0], out[1]


def _follow(photo: Photo, slit: Slit, start: Floats, cost_of) -> Floats:  # type: ignore[no-untyped-def]
    """The cheapest smooth line near ``start``, by dynamic programming."""
    offsets = np.arange(-_REACH, _REACH + 0.01, 0.25)
    places = np.stack(np.broadcast_arrays(slit.x[:, None], start[:, None] + offsets), -1)
    soft = cv2.GaussianBlur(photo.texture[..., :3], (0, 0), 1.0)
    at = ((slit.world(places) + MARGIN) * FINE - 0.5).astype(np.float32)
    cost = cost_of(cv2.remap(soft, at, None, cv2.INTER_LINEAR).astype(np.float64) / 255.0)
    cost = cost / (cost.std() + 1e-6) + 0.10 * (offsets / 1.5) ** 2
    ease = np.clip((slit.half - np.abs(slit.x)) / 5.0, 0.15, 1.0)
    cost = (
        cost + (1 / ease - 1)[:, None] * 0.15 * offsets**2
    )  # corners stay where the landmarks are
    step = 2.0 * (offsets[:, None] - offsets) ** 2 / 0.25
    total, back = cost[0], []
    for row in cost[1:]:
        ways = total[:, None] + step
        back.append(ways.argmin(0))
        total = ways.min(0) + row
    path = [int(total.argmin())]
    for row in reversed(back):
        path.append(int(row[path[-1]]))
    return start + gaussian_filter1d(offsets[path[::-1]], 1.5, mode="nearest")


def _darkness(colours: Floats) -> Floats:
    return colours @ [0.3, 0.6, 0.1]


def _red(colours: Floats) -> Floats:
    """High on lips, low on teeth; plain darkness where there is no colour."""
    return 1.5 * (colours[..., 0] - colours[..., 1]) - 0.7 * (colours @ [0.3, 0.6, 0.1])


def _falling_red(colours: Floats) -> Floats:
    return np.gradient(_red(colours), axis=1)


def _rising_red(colours: Floats) -> Floats:
    return -np.gradient(_red(colours), axis=1)
