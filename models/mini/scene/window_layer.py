"""Lays a generated face window into the portrait, whose own detail moves along with the skin.

    frame = up(D0) + up(core(G - D0)) + (1 - M) R(x - u)        R = P - up(D0)

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
Signed = NDArray[np.int16]
Box = tuple[slice, slice]

CORING = 4
"""Grey levels from which a difference counts in full; below, one less."""
UNEXPLAINED = (7.0, 20.0)
"""Mean grey levels from which the detail fades, and at which it is gone."""
SLACK = 0.5
"""Window pixels by which the detail may lie beside where it belongs: what edges differ by for that
is no reason to give it up."""
LIPS_REST = 0.5
"""Window pixels by which lips may move and keep their detail; at twice that it is gone."""
_MASK_SIDE = 64
_COARSE = 4
"""Pixels of the frame for which one displacement is computed."""
_ZERO = np.int16(256)
"""What stands for 0 where OpenCV resamples differences of bytes: it is fast for unsigned
numbers alone."""
_INVERSE = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
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
        layer: Picture,
        rest: Picture,
        cover: Floats,
        to_window: Similarity,
        lips: NDArray[np.floating],
    ) -> None:
        """Compute once per identity.

        Args:
            picture: the portrait at output size, RGB uint8 [H, W, 3].
            layer: what is drawn of it where the window rests, RGBA uint8 [H, W, 4].
            rest: its window, encoded and decoded, RGB uint8 [256, 256, 3].
            cover: where in the window skin may move, float32 [64, 64] in [0, 1].
            to_window: from pixels of ``picture`` to window pixels.
            lips: outline of the lips, window pixels, [K, 2]; their detail is given up as soon as
                they move, for they part along a line that no displacement follows.
        """
        self._lips = _around(lips)
        self._cover = _faded(cover)
        self._rest_small = _small(rest)
        self._tolerated = UNEXPLAINED[0] + SLACK * _slope(self._rest_small) * _MASK_SIDE / SIDE
        self.box = _box_of(self._cover, to_window, picture.shape[:2])
        rows, columns = self.box
        self._size = columns.stop - columns.start, rows.stop - rows.start
        self._matrix = _from_box(to_window, self.box)
        self._to_box = np.linalg.inv(to_window.matrix[:, :2]).T.astype(np.float32)
        inside = _shares(cv2.resize(self._cover, (SIDE, SIDE)))
        self._inside = np.repeat(inside[..., None], 4, 2)
        self._rest = _four(rest)
        detail = _four(picture[self.box]) - self._up(self._rest, cv2.BORDER_REPLICATE)
        self._detail = _unsigned(detail)
        self._base = layer[self.box] - detail

    def unexplained(self, window: Picture, moved: Floats) -> Floats:
        """Where a window is not the resting one moved: M, float32 [64, 64] in [0, 1].

        Args:
            window: RGB uint8 [256, 256, 3].
            moved: u, how far skin at each place has gone, window pixels, float32 [g, g, 2].
        """
        size = (_MASK_SIDE, _MASK_SIDE)
        gone = cv2.resize(moved, size)
        came = gone * np.float32(-_MASK_SIDE / SIDE)
        off = np.abs(_small(window) - resample(self._rest_small, came))
        off = np.clip((off - self._tolerated) / (UNEXPLAINED[1] - UNEXPLAINED[0]), 0, 1)
        far = float((np.linalg.norm(gone, axis=2) * self._lips).max())
        off = np.maximum(off, self._lips * np.clip((far - LIPS_REST) / LIPS_REST, 0, 1))
        wide = cv2.dilate(off, np.ones((3, 3), np.uint8))
        return np.asarray(cv2.GaussianBlur(wide, (0, 0), 0.8) * self._cover, np.float32)

    def compose(self, window: Picture, moved: Floats | None = None) -> Picture:
        """The ``box`` of ``layer`` with a generated window: RGBA uint8 [h, w, 4].

        Args:
            window: RGB uint8 [256, 256, 3].
            moved: how far skin at each place has gone, window pixels, float32 [g, g, 2]; None
                where it rests.
        """
        moved = _RESTING if moved is None else moved
        excess = _times(_core(_four(window) - self._rest), self._inside)
        kept = self._spread(_shares(1 - self.unexplained(window, moved)).view(np.uint16))
        kept = np.asarray(cv2.cvtColor(kept, cv2.COLOR_GRAY2RGBA))
        detail = resample(self._detail, self._spread(-moved @ self._to_box))
        drawn = _times(_signed(detail), kept.view(np.int16))
        drawn += self._up(excess)
        drawn += self._base
        return np.clip(drawn, 0, 255).astype(np.uint8)

    def _up(self, window: Signed, edge: int = cv2.BORDER_CONSTANT) -> Signed:
        """Resample a picture of the window into the box; beyond it 0, which is the fastest."""
        matrix = self._matrix.copy()
        matrix[:, 2] -= 0.5  # OpenCV counts from pixel middles
        zero = (float(_ZERO),) * 4
        return _signed(
            cv2.warpAffine(_unsigned(window), matrix, self._size, None, _INVERSE, edge, zero)
        )

    def _spread(self, field: NDArray[Any]) -> NDArray[Any]:
        """Resample a smooth field of the window [g, g, ...] into the box, by way of few pixels."""
        matrix = self._matrix.copy()
        matrix[:, :2] *= _COARSE
        matrix[:, 2] += self._matrix[:, :2] @ np.full(2, (_COARSE - 1) / 2)
        matrix *= len(field) / SIDE
        matrix[:, 2] -= 0.5
        width, height = (-(-n // _COARSE) for n in self._size)
        edge = cv2.BORDER_REPLICATE
        coarse = cv2.warpAffine(field, matrix, (width, height), flags=_INVERSE, borderMode=edge)
        fine = cv2.resize(coarse, (width * _COARSE, height * _COARSE))
        return np.asarray(fine[: self._size[1], : self._size[0]])


def _core(difference: Signed) -> Signed:
    """Differences without a grey level where they are small: 0, 0, 1, 2, 4, 5 for 0 to 5."""
    return difference - np.clip(difference, -1, 1) * (np.abs(difference) < CORING)


def _shares(share: NDArray[Any]) -> Signed:
    """Shares in [0, 1] in units of 1 / 128."""
    return np.asarray(share * 128 + 0.5, np.int16)


def _times(difference: Signed, shares: Signed) -> Signed:
    """Differences of bytes, changed in place to their shares, rounded."""
    difference *= shares
    difference += np.int16(64)
    difference >>= 7
    return difference


def _unsigned(difference: Signed) -> NDArray[np.uint16]:
    """Differences of bytes for OpenCV to resample."""
    return (difference + _ZERO).view(np.uint16)


def _signed(resampled: NDArray[Any]) -> Signed:
    """Inverse of ``_unsigned``."""
    return resampled.view(np.int16) - _ZERO


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


def _slope(picture: Floats) -> Floats:
    """The steepest slope within a pixel of each place, [H, W], levels per pixel."""
    across, down = (cv2.Sobel(picture, cv2.CV_32F, *d, scale=1 / 8) for d in ((1, 0), (0, 1)))
    return np.asarray(cv2.dilate(np.hypot(across, down), np.ones((3, 3), np.uint8)), np.float32)


_RESTING = np.zeros((2, 2, 2), np.float32)


def _faded(cover: Floats) -> Floats:
    """The cover with a wider edge, 0 at the window's rim."""
    soft = cv2.GaussianBlur(cover, (0, 0), _FADE)
    soft[[0, -1]] = soft[:, [0, -1]] = 0
    return np.asarray(np.where(soft < 0.02, 0, soft), np.float32)


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


def _four(picture: Picture) -> Signed:
    """RGB uint8 with a fourth channel, which is faster to resample."""
    return cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA).astype(np.int16)
