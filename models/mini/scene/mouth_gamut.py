"""Keeps the generated inside of a mouth within the colours that it can have in the portrait.

Behind the lips there are teeth, flesh and darkness, in the light that the face is in. With t and f
the portrait's tooth and flesh (``models.face.mouth_colours``) scaled to a brightness of 1, a colour
of brightness y is drawn as

    y t + p (f - t)        p in [0, y]

where p takes it nearest to what was generated. Where a picture has no colours, t and f are grey,
and so is the mouth. What lies between the lips is known from the face units; the limits fade out
over the lips' edges, and closed lips have none.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face.landmarks import INNER_LIPS
from models.face.mouth_colours import MouthColours, hue
from models.face.texture import LUMA
from models.face.window import SIDE
from models.mini.motion import MOUTH_UNITS
from models.mini.scene.skin_motion import limit_close, unit_moves

Picture = NDArray[np.uint8]

FEATHER = 1.5
"""Deviation of the blur of the mouth's outline, window pixels."""
PARTED = (0.5, 1.5)
"""Window pixels between the lips from which the limits fade in, and at which they hold in full."""
_MARGIN = 5
_LEAST_AWAY = 1e-6
_FINE = 3
"""Bits of a pixel in which corners of the outline are given."""


class MouthGamut:
    """Limits of one identity."""

    def __init__(self, colours: MouthColours, points: NDArray[np.floating]) -> None:
        """Compute once per identity.

        Args:
            colours: of the portrait.
            points: landmarks of its closed mouth [468, 3], window pixels.
        """
        tooth, flesh = hue(colours.tooth), hue(colours.inner)
        away = flesh - tooth
        square = max(float(away @ away), _LEAST_AWAY)
        bright = np.array(LUMA)
        nearest = (away - (tooth @ away) * bright) / square
        self._place = np.stack([bright, nearest]).astype(np.float32)
        self._colour = np.column_stack([tooth, away]).astype(np.float32)
        edges = np.array(INNER_LIPS)
        self._line = points[edges, :2].mean(0).astype(np.float32)
        moves = unit_moves(points)[: len(MOUTH_UNITS), :, :2]
        self._moves = moves[:, edges].reshape(len(MOUTH_UNITS), -1).astype(np.float32)

    def limit(self, window: Picture, mouth: NDArray[np.floating]) -> Picture:
        """The window with its mouth's inside within the limits.

        Args:
            window: RGB uint8 [256, 256, 3].
            mouth: units that it shows, [13], columns ``MOUTH_UNITS``.
        """
        upper, lower = self.lips(mouth)
        gap = float((lower - upper)[:, 1].max())
        if gap <= PARTED[0]:
            return window
        outline = np.concatenate([upper, lower[::-1]])
        low = np.clip(np.floor(outline.min(0)) - _MARGIN, 0, SIDE).astype(int)
        high = np.clip(np.ceil(outline.max(0)) + _MARGIN, 0, SIDE).astype(int)
        box = slice(low[1], high[1]), slice(low[0], high[0])
        share = _filled(outline - low, (high - low)[::-1])
        share *= min((gap - PARTED[0]) / (PARTED[1] - PARTED[0]), 1)
        limited = window.copy()
        limited[box] = self.limit_colours(window[box], share)
        return limited

    def lips(self, mouth: NDArray[np.floating]) -> NDArray[np.float32]:
        """Where units [13] take both lips' edges, upper and lower, window pixels, [2, 11, 2].

        They lie on one line at rest, and stop each other.
        """
        units = limit_close(mouth).astype(np.float32)
        edges: NDArray[np.float32] = self._line + (units @ self._moves).reshape(2, -1, 2)
        edges[1, :, 1] = np.maximum(edges[1, :, 1], edges[0, :, 1])
        return edges

    def limit_colours(self, colours: Picture, share: NDArray[np.float32]) -> Picture:
        """Colours RGB uint8 [H, W, 3] within the limits to a share [H, W] of the way."""
        given = colours.astype(np.float32)
        place = cv2.transform(given, self._place)
        place[..., 1] = np.clip(place[..., 1], 0, place[..., 0])
        change = cv2.transform(place, self._colour) - given
        given += change * share[..., None]
        given += np.float32(0.5)
        return np.clip(given, 0, 255).astype(np.uint8)


def _filled(outline: NDArray[np.floating], size: NDArray[np.intp]) -> NDArray[np.float32]:
    """An outline [K, 2] filled, with soft edges, [height, width] in [0, 1]."""
    filled = np.zeros(size, np.uint8)
    corners = np.round((outline - 0.5) * (1 << _FINE)).astype(np.int32)
    cv2.fillPoly(filled, [corners], (255,), cv2.LINE_AA, _FINE)
    soft = cv2.GaussianBlur(filled, (0, 0), FEATHER)
    return np.asarray(soft, np.float32) / np.float32(255)
