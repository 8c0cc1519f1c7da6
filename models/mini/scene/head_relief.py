"""The head as a relief over the picture: how deep every place lies and how far it turns along."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face.geometry import ease
from models.face.landmarks import FACE_OVAL, Landmarks

Floats = NDArray[np.float32]

CHIN, EARS = 152, (234, 454)
PIVOT_DOWN = 1.0
"""From the mouth down to the joint that the head turns about, as a share of eyes to mouth."""
AXIS_BEHIND = 1.05
"""How far the neck's axis lies behind the edges of the cheeks, the same share."""
_SMOOTH = 0.10
"""Reach over which landmarks' depths are averaged."""
_HAIR = 0.85
"""Hair and ears lie this far towards the axis, reached this many shares beyond the face:"""
_HAIR_REACH = 0.75
_NECK = (-0.15, 1.0)
"""Below the chin, where the share of the turn begins to fall, and where it has ended."""
_CHEEK_WIDTH = 1.15
"""Half a face; further aside the fall begins higher, by this many shares for one:"""
_SHOULDER_SLOPE = 0.55
_SHOULDER_RISE = 1.1
_CHEST = (0.9, 2.6)
"""Below the chin, where breathing moves the body in full, and where it no longer does."""


@dataclass(frozen=True)
class HeadRelief:
    """Values at places [N, 2] of a picture, pixels.

    Attributes:
        places: [N, 2]; depth: behind the pivot (before it is negative) [N], pixels.
        turn: share of the head's rotation [N]; sway: share of the body's movement [N].
        pivot: what the head turns about, [2], pixels.
        unit: from the eyes to the mouth, pixels.
    """

    places: Floats
    depth: Floats
    turn: Floats
    sway: Floats
    pivot: Floats
    unit: float


def make_relief(landmarks: Landmarks, places: Floats) -> HeadRelief:
    """The relief of the head at places [N, 2], which may lie beyond the picture."""
    points = landmarks.points
    eyes, mouth = landmarks.eyes.mean(0), landmarks.mouth
    unit = float(np.linalg.norm(mouth - eyes))
    down = (mouth - eyes) / unit
    aside = np.array([down[1], -down[0]])
    axis = float(points[list(EARS), 2].mean()) + AXIS_BEHIND * unit
    pivot = mouth + PIVOT_DOWN * unit * down
    off = _beyond(points[list(FACE_OVAL), :2], places)
    depth = _smooth_depth(points, places, _SMOOTH * unit)
    depth += (axis - depth) * _HAIR * ease(off / (_HAIR_REACH * unit))
    below = (places - points[CHIN, :2]) @ down / unit
    far = np.abs((places - mouth) @ aside) / unit - _CHEEK_WIDTH
    raised = np.minimum(_SHOULDER_SLOPE * np.maximum(far, 0), _SHOULDER_RISE)
    turn = 1 - ease((below + raised - _NECK[0]) / (_NECK[1] - _NECK[0]))
    sway = 1 - ease((below - _CHEST[0]) / (_CHEST[1] - _CHEST[0]))
    return HeadRelief(places, depth - axis, turn, sway, pivot.astype(np.float32), unit)


def _smooth_depth(points: Floats, places: Floats, reach: float) -> Floats:
    """Depth of the landmarks around each place; of the nearest ones far from all.

    A mean flattens the face, and a flat face turns less than it is told to: the means are spread
    again until those at the landmarks are as far apart as the landmarks' own depths.
    """
    flat = _mean_depth(points, np.concatenate([points[:, :2], places]), reach)
    at_points, at_places = flat[: len(points)], flat[len(points) :]
    middle = float(at_points.mean())
    spread = np.cov(at_points, points[:, 2])
    stretch = float(spread[1, 1] / max(spread[0, 1], 1e-6))
    return np.asarray(middle + stretch * (at_places - middle), np.float32)


def _mean_depth(points: Floats, places: Floats, reach: float) -> Floats:
    apart = ((places[:, None] - points[None, :, :2]) ** 2).sum(2)
    apart -= apart.min(1, keepdims=True)
    weight = np.exp(-apart / (2 * reach**2))
    return np.asarray((weight @ points[:, 2]) / weight.sum(1), np.float32)


def _beyond(outline: Floats, places: Floats) -> Floats:
    """Distance of places from an outline, 0 inside it."""
    polygon = np.asarray(outline, np.float32)[:, None]
    far = [cv2.pointPolygonTest(polygon, (float(x), float(y)), True) for x, y in places]
    return np.maximum(-np.asarray(far, np.float32), 0)
