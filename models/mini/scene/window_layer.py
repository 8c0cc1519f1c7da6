"""Lays a generated face window into the portrait, whose own detail moves along with the skin.

    frame = up(D0) + core(up(G) - up(D0)) + (1 - M) R(x - u)        R = P - up(D0)

P is the portrait at output size, D0 what the decoder makes of the portrait's own window, G the
generated window, ``up`` the window's way into the frame. R is the detail that the decoder cannot
carry; u is how far the skin has moved (``skin_motion``). Where G is not D0 moved by u (inside an
open mouth, on closing lids) the detail is given up: M; and on lips, as soon as they move. ``core``
drops differences of a grey level, which would flicker on resting skin. All that changes fades out
towards the edge of the face's cover; where nothing does, the frame is P.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face.geometry import Similarity
from models.face.window import SIDE
from models.mini.scene.head_warp import resample

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
Box = tuple[slice, slice]

CORING = 1.5
"""Grey levels about which a difference begins to count."""
UNEXPLAINED = (7.0, 20.0)
"""Mean grey levels from which the detail fades, and at which it is gone."""
LIPS_REST = 0.5
"""Window pixels by which lips may move and keep their detail; at twice that it is gone."""
_MASK_SIDE = 64
_COARSE = 4
"""Pixels of the frame for which one displacement is computed."""
_FADE = 1.2
"""Deviation of the cover's blur, in its pixels."""


class WindowLayer:
    """One identity's portrait and what is static about its window.

    Attributes:
        box: rows and columns of the frame that the window can touch.
    """

    def __init__(
        self,
        picture: Picture,
        rest: Picture,
        cover: Floats,
        to_window: Similarity,
        lips: NDArray[np.floating],
    ) -> None:
        """Compute once per identity.

        Args:
            picture: the portrait at output size, RGB uint8 [H, W, 3].
            rest: its window, encoded and decoded, RGB uint8 [256, 256, 3].
            cover: where in the window skin may move, float32 [64, 64] in [0, 1].
            to_window: from pixels of ``picture`` to window pixels.
            lips: outline of the lips, window pixels, [K, 2]; their detail is given up as soon as
                they move, for they part along a line that no displacement follows.
        """
        self._lips = _around(lips)
        cover = _faded(cover)
        self.box = _box_of(cover, to_window, picture.shape[:2])
        rows, columns = self.box
        self._size = columns.stop - columns.start, rows.stop - rows.start
        self._matrix = _from_box(to_window, self.box)
        whole = _four(picture[self.box])
        self._rest = np.asarray(self._up(_four(rest)), np.uint8)
        self._detail_over = cv2.subtract(whole, self._rest)
        self._detail_under = cv2.subtract(self._rest, whole)
        self._rest_small = _small(rest)
        self._cover = cover
        self._inside = cv2.merge([self._up(_bytes(cover), SIDE / len(cover))] * 4)
        across, down = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in self._size))
        self._places = np.dstack([across, down])
        self._to_box = np.linalg.inv(to_window.matrix[:, :2]).T.astype(np.float32)

    def unexplained(self, window: Picture, moved: Floats) -> Floats:
        """Where a window is not the resting one moved: M, float32 [64, 64] in [0, 1].

        Args:
            window: RGB uint8 [256, 256, 3].
            moved: u, how far skin at each place has gone, window pixels, float32 [g, g, 2].
        """
        size = (_MASK_SIDE, _MASK_SIDE)
        gone = cv2.resize(moved, size)
        source = _PLACES - gone * np.float32(_MASK_SIDE / SIDE)
        off = np.abs(_small(window) - resample(self._rest_small, source))
        off = np.clip((off - UNEXPLAINED[0]) / (UNEXPLAINED[1] - UNEXPLAINED[0]), 0, 1)
        far = float((np.linalg.norm(gone, axis=2) * self._lips).max())
        off = np.maximum(off, self._lips * np.clip((far - LIPS_REST) / LIPS_REST, 0, 1))
        wide = cv2.dilate(off, np.ones((3, 3), np.uint8))
        return np.asarray(cv2.GaussianBlur(wide, (0, 0), 0.8) * self._cover, np.float32)

    def compose(self, window: Picture, moved: Floats | None = None) -> Picture:
        """The frame's ``box`` with a generated window: RGBA uint8 [h, w, 4].

        The fourth channel means nothing; four are faster to resample than three.

        Args:
            window: RGB uint8 [256, 256, 3].
            moved: how far skin at each place has gone, window pixels, float32 [g, g, 2]; None
                where it rests.
        """
        made = np.asarray(self._up(_four(window)), np.uint8)
        over, under = self._excess(made, self._rest), self._excess(self._rest, made)
        moved = _RESTING if moved is None else moved
        kept = self._up(_bytes(1 - self.unexplained(window, moved)), SIDE / _MASK_SIDE)
        kept = cv2.cvtColor(kept, cv2.COLOR_GRAY2RGBA)
        source = self._source(moved @ self._to_box)
        detail_over, detail_under = (
            cv2.multiply(resample(detail, source), kept, scale=1 / 255)
            for detail in (self._detail_over, self._detail_under)
        )
        # bytes saturate only at the end: no value is both over and under, and the base lies
        # between the portrait and what the decoder makes of it
        base = cv2.add(cv2.subtract(self._rest, detail_under), detail_over)
        return np.asarray(cv2.subtract(cv2.add(base, over), under), np.uint8)

    def _source(self, moved: Floats) -> Floats:
        """Where each pixel of the box comes from, for ``moved`` [g, g, 2] in frame pixels."""
        matrix = self._matrix.copy()
        matrix[:, :2] *= _COARSE
        matrix[:, 2] += self._matrix[:, :2] @ np.full(2, (_COARSE - 1) / 2)
        matrix *= len(moved) / SIDE
        matrix[:, 2] -= 0.5
        width, height = (-(-n // _COARSE) for n in self._size)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        edge = cv2.BORDER_REPLICATE
        coarse = cv2.warpAffine(moved, matrix, (width, height), flags=flags, borderMode=edge)
        fine = cv2.resize(coarse, (width * _COARSE, height * _COARSE))
        return np.asarray(
            cv2.subtract(self._places, fine[: self._size[1], : self._size[0]]), np.float32
        )

    def _excess(self, one: Picture, other: Picture) -> Picture:
        """How far one picture is above another, small steps dropped, fading out around the face."""
        cored = cv2.LUT(cv2.subtract(one, other), _CORE)
        return np.asarray(cv2.multiply(cored, self._inside, scale=1 / 255), np.uint8)

    def _up(self, window: NDArray[Any], scale: float = 1.0) -> NDArray[Any]:
        """Resample a map of the window, of ``SIDE / scale`` pixels, into the box."""
        matrix = self._matrix / scale
        matrix[:, 2] -= 0.5  # OpenCV counts from pixel middles
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        edge = cv2.BORDER_REPLICATE
        return cv2.warpAffine(window, matrix, self._size, flags=flags, borderMode=edge)


def _around(outline: NDArray[np.floating]) -> Floats:
    """An outline of the window [K, 2] filled and a little wider, float32 [64, 64] in [0, 1]."""
    filled = np.zeros((_MASK_SIDE, _MASK_SIDE), np.float32)
    corners = np.round(np.asarray(outline) * (_MASK_SIDE / SIDE) - 0.5).astype(np.int32)
    cv2.fillPoly(filled, [corners], (1.0,))
    return np.asarray(cv2.dilate(filled, np.ones((5, 5), np.uint8)), np.float32)


def _small(window: Picture) -> Floats:
    """Luma of a window, float32 [64, 64]."""
    grey = cv2.cvtColor(window, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_MASK_SIDE, _MASK_SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _core_table() -> Picture:
    level = np.arange(256.0)
    return np.asarray(np.round(level**3 / (level**2 + CORING**2)), np.uint8)


_CORE = _core_table()
_RESTING = np.zeros((2, 2, 2), np.float32)
_PLACES = np.dstack(np.meshgrid(*[np.arange(_MASK_SIDE, dtype=np.float32)] * 2))


def _faded(cover: Floats) -> Floats:
    """The cover with a wider edge, 0 at the window's rim."""
    soft = cv2.GaussianBlur(cover, (0, 0), _FADE)
    soft[[0, -1]] = soft[:, [0, -1]] = 0
    return np.asarray(np.where(soft < 0.02, 0, soft), np.float32)


def _bytes(share: Floats) -> Picture:
    return np.asarray(share * 255 + 0.5, np.uint8)


def _box_of(cover: Floats, to_window: Similarity, size: tuple[int, int]) -> Box:
    """The part of a frame that a covered pixel of the window can reach."""
    rows, columns = (np.flatnonzero(cover.max(axis)) for axis in (1, 0))
    step = SIDE / len(cover)
    if not len(rows):
        rows = columns = np.array([0])
    left, top = columns[0] * step, rows[0] * step
    right, bottom = (columns[-1] + 1) * step, (rows[-1] + 1) * step
    corners = np.array([[left, top], [right, top], [left, bottom], [right, bottom]])
    corners = to_window.inverse().apply(corners)
    limit = np.array(size[::-1])
    low = np.clip(np.floor(corners.min(0)) - 2, 0, limit - 1).astype(int)
    high = np.clip(np.ceil(corners.max(0)) + 2, low + 1, limit).astype(int)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _from_box(to_window: Similarity, box: Box) -> NDArray[np.float64]:
    """Matrix [2, 3] from pixel indices of the box to continuous window pixels."""
    matrix = to_window.matrix.copy()
    corner = np.array([box[1].start, box[0].start], np.float64) + 0.5
    matrix[:, 2] += matrix[:, :2] @ corner
    return matrix


def _four(picture: Picture) -> Picture:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA), np.uint8)
