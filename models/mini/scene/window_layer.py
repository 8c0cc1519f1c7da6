"""Lays a generated face window into the portrait, whose own detail stays where nothing moved.

    frame = P + core(up(G) - up(D0)) - M (P - up(D0))

P is the portrait at output size, D0 what the decoder makes of the portrait's own window, G the
generated window, ``up`` the window's way into the frame. P - up(D0) is the detail that the decoder
cannot carry: it is kept where the face rests, and given up (M) where the skin has moved from under
it. ``core`` drops differences of a grey level, which would flicker on resting skin. Both terms fade
out towards the rim of the window.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face.geometry import Similarity
from models.face.window import EDGE, SIDE

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
Box = tuple[slice, slice]

CORING = 1.5
"""Grey levels about which a difference begins to count."""
MOVED = (5.0, 16.0)
"""Mean grey levels from which the detail fades, and at which it is gone."""
_MASK_SIDE = 64
_RIM = (1.0, 1.6 * EDGE)
"""Distance from the window's edge at which a generated pixel begins to show, and shows in full."""


class WindowLayer:
    """One identity's portrait and what is static about its window.

    Attributes:
        box: rows and columns of the frame that the window can touch.
    """

    def __init__(self, picture: Picture, rest: Picture, to_window: Similarity) -> None:
        """Compute once per identity.

        Args:
            picture: the portrait at output size, RGB uint8 [H, W, 3].
            rest: its window, encoded and decoded, RGB uint8 [256, 256, 3].
            to_window: from pixels of ``picture`` to window pixels.
        """
        self.box = _box_of(to_window, picture.shape[:2])
        rows, columns = self.box
        self._size = columns.stop - columns.start, rows.stop - rows.start
        self._picture = _four(picture[self.box])
        self._rest_window = rest
        self._matrix = _from_box(to_window, self.box)
        self._rest = self._up(_four(rest))
        self._detail_over = cv2.subtract(self._picture, self._rest)
        self._detail_under = cv2.subtract(self._rest, self._picture)
        inside = _rim()
        self._inside = cv2.merge([self._up(np.asarray(inside * 255 + 0.5, np.uint8))] * 4)
        half = cv2.resize(inside, (_MASK_SIDE, _MASK_SIDE), interpolation=cv2.INTER_AREA)
        self._inside_small = np.asarray(half, np.float32)

    def moved(self, window: Picture) -> Floats:
        """Where a window differs from the resting one: M, float32 [64, 64] in [0, 1]."""
        grey = cv2.cvtColor(cv2.absdiff(window, self._rest_window), cv2.COLOR_RGB2GRAY)
        size = (_MASK_SIDE, _MASK_SIDE)
        small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        small = np.clip((small - MOVED[0]) / (MOVED[1] - MOVED[0]), 0, 1)
        wide = cv2.dilate(small, np.ones((3, 3), np.uint8))
        return np.asarray(cv2.GaussianBlur(wide, (0, 0), 0.8) * self._inside_small, np.float32)

    def compose(self, window: Picture) -> Picture:
        """The frame's ``box`` with a generated window RGB uint8 [256, 256, 3]: RGBA uint8.

        The fourth channel means nothing; four are faster to resample than three.
        """
        made = self._up(_four(window))
        over, under = self._excess(made, self._rest), self._excess(self._rest, made)
        moved = np.asarray(self.moved(window) * 255 + 0.5, np.uint8)
        mask = cv2.merge([self._up(moved, SIDE / _MASK_SIDE)] * 4)
        lost_over = cv2.multiply(self._detail_over, mask, scale=1 / 255)
        lost_under = cv2.multiply(self._detail_under, mask, scale=1 / 255)
        # bytes saturate only at the end: no value is both over and under, and base lies between
        # the portrait and what the decoder makes of it
        base = cv2.add(cv2.subtract(self._picture, lost_over), lost_under)
        return np.asarray(cv2.subtract(cv2.add(base, over), under), np.uint8)

    def _excess(self, one: Picture, other: Picture) -> Picture:
        """How far one picture is above another, small steps dropped, fading out to the rim."""
        cored = cv2.LUT(cv2.subtract(one, other), _CORE)
        return np.asarray(cv2.multiply(cored, self._inside, scale=1 / 255), np.uint8)

    def _up(self, window: Picture, scale: float = 1.0) -> Picture:
        """Resample a picture of the window, of ``SIDE / scale`` pixels, into the box."""
        matrix = self._matrix / scale
        matrix[:, 2] -= 0.5  # OpenCV counts from pixel middles
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        edge = cv2.BORDER_REPLICATE
        resampled = cv2.warpAffine(window, matrix, self._size, flags=flags, borderMode=edge)
        return np.asarray(resampled, np.uint8)


def _core_table() -> Picture:
    level = np.arange(256.0)
    return np.asarray(np.round(level**3 / (level**2 + CORING**2)), np.uint8)


_CORE = _core_table()


def _rim() -> Floats:
    """1 inside the window, falling to 0 at its edge, [256, 256]."""
    at = np.minimum(np.arange(SIDE) + 0.5, SIDE - 0.5 - np.arange(SIDE))
    t = np.clip((at - _RIM[0]) / (_RIM[1] - _RIM[0]), 0, 1)
    eased = t * t * (3 - 2 * t)
    return np.asarray(eased[:, None] * eased, np.float32)


def _box_of(to_window: Similarity, size: tuple[int, int]) -> Box:
    corners = np.array([[0, 0], [SIDE, 0], [0, SIDE], [SIDE, SIDE]], np.float64)
    corners = to_window.inverse().apply(corners)
    limit = np.array(size[::-1])
    low = np.clip(np.floor(corners.min(0)), 0, limit - 1).astype(int)
    high = np.clip(np.ceil(corners.max(0)), low + 1, limit).astype(int)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _from_box(to_window: Similarity, box: Box) -> NDArray[np.float64]:
    """Matrix [2, 3] from pixel indices of the box to continuous window pixels."""
    matrix = to_window.matrix.copy()
    corner = np.array([box[1].start, box[0].start], np.float64) + 0.5
    matrix[:, 2] += matrix[:, :2] @ corner
    return matrix


def _four(picture: Picture) -> Picture:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA), np.uint8)
