"""Locates 468 landmarks on a face and derives its pose, eyes and mouth from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.face.detector import Face
from models.face.geometry import Similarity, cut, square_around
from models.face.networks import Network, run_network

_INPUT = 192
_MARGIN = 1.5
"""Side of the square that the network sees, divided by the longer side of the face in it."""
_PASSES = 3
"""The first square comes from the detector, the next ones from the previous pass."""
_LOOKS = 10
_LOOK_SHIFT, _LOOK_SCALE, _LOOK_TILT = 0.03, 0.08, 0.06
"""Slightly different views that steady landmarks are averaged over: each may be off by these
shares of the face, and radians."""

_LEFT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
_RIGHT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
_EYE_CORNERS = (33, 263)
_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
INNER_LIPS = (
    (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
)
"""Inner edges of the upper and the lower lip, from left to right."""
_CHEEKS = (234, 454)
_FOREHEAD, _CHIN = 10, 152
_LEVEL_PITCH = np.radians(6.2)
"""Slope from chin to forehead of the median of 511 frontal portraits."""
_EYE_INWARD, _EYE_UP, _MOUTH_UP = 0.023, 0.026, 0.025
"""Offset from the centres of the outlines to where training pictures have eyeball and mouth,
measured on 24 of them; shares of the distance between the eyes (for the mouth, of their outer
corners)."""
FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)


@dataclass(frozen=True)
class Landmarks:
    """Landmarks of one face.

    Attributes:
        points: float32 [468, 3]: pixels x, y of the picture, and depth in the same scale (nearer
            is smaller).
        presence: how certain it is that this is a face, [0, 1].
    """

    points: NDArray[np.float32]
    presence: float

    @property
    def eyes(self) -> NDArray[np.float32]:
        """Centres of the picture's left and right eyeball, [2, 2]."""
        left, right = (self.points[list(eye), :2].mean(0) for eye in (_LEFT_EYE, _RIGHT_EYE))
        across = right - left
        up = np.array([across[1], -across[0]])
        centres = [left + _EYE_INWARD * across, right - _EYE_INWARD * across]
        raised: NDArray[np.float32] = (np.stack(centres) + _EYE_UP * up).astype(np.float32)
        return raised

    @property
    def mouth(self) -> NDArray[np.float32]:
        """Centre of the lips, [2]."""
        across = self.points[_EYE_CORNERS[1], :2] - self.points[_EYE_CORNERS[0], :2]
        up = np.array([across[1], -across[0]])
        lips: NDArray[np.float32] = self.points[list(_LIPS), :2].mean(0)
        return (lips + _MOUTH_UP * up).astype(np.float32)

    @property
    def unit(self) -> float:
        """Distance from the centre of the eyes to the mouth, pixels."""
        return float(np.linalg.norm(self.mouth - self.eyes.mean(0)))

    @property
    def lips(self) -> NDArray[np.float32]:
        """Outline of the lips, [20, 2]."""
        return self.points[list(_LIPS), :2]

    @property
    def roll(self) -> float:
        """Angle of the line from eye to eye, radians; positive sinks to the right."""
        across = self.points[_EYE_CORNERS[1]] - self.points[_EYE_CORNERS[0]]
        return float(np.arctan2(across[1], across[0]))

    @property
    def yaw(self) -> float:
        """How far the head is turned aside, radians; 0 looks at the camera."""
        across = self.points[_CHEEKS[1]] - self.points[_CHEEKS[0]]
        return float(np.arctan2(across[2], np.hypot(across[0], across[1])))

    @property
    def pitch(self) -> float:
        """How far the head is bent, radians; 0 looks at the camera, positive down."""
        down = self.points[_CHIN] - self.points[_FOREHEAD]
        return float(np.arctan2(down[2], np.hypot(down[0], down[1])) - _LEVEL_PITCH)


def locate_landmarks(picture: NDArray[np.uint8], face: Face) -> Landmarks:
    """Locate the landmarks of a detected face in RGB uint8 [H, W, 3]."""
    across = face.points[1] - face.points[0]
    found = _locate(picture, face.centre, face.side, float(np.arctan2(across[1], across[0])))
    for _ in range(_PASSES - 1):
        low, high = found.points[:, :2].min(0), found.points[:, :2].max(0)
        found = _locate(picture, (low + high) / 2, float((high - low).max()), found.roll)
    return found


def follow_landmarks(picture: NDArray[np.uint8], previous: Landmarks) -> Landmarks:
    """Locate the landmarks of a face that was where ``previous`` says a moment ago."""
    found = previous
    for _ in range(_PASSES - 1):
        low, high = found.points[:, :2].min(0), found.points[:, :2].max(0)
        found = _locate(picture, (low + high) / 2, float((high - low).max()), found.roll)
    return found


def steady_landmarks(picture: NDArray[np.uint8], found: Landmarks) -> Landmarks:
    """Landmarks averaged over slightly different views of the face that was ``found``."""
    rng = np.random.default_rng(7)
    low, high = found.points[:, :2].min(0), found.points[:, :2].max(0)
    side = float((high - low).max())
    total = np.zeros((468, 3))
    for _ in range(_LOOKS):
        centre = (low + high) / 2 + rng.uniform(-_LOOK_SHIFT, _LOOK_SHIFT, 2) * side
        size = side * rng.uniform(1 - _LOOK_SCALE, 1 + _LOOK_SCALE)
        angle = found.roll + rng.uniform(-_LOOK_TILT, _LOOK_TILT)
        total += _locate(picture, centre, size, angle).points
    return Landmarks((total / _LOOKS).astype(np.float32), found.presence)


def move_landmarks(landmarks: Landmarks, similarity: Similarity) -> Landmarks:
    """The same landmarks in pixels of a crop, depth scaled alike."""
    points = landmarks.points
    moved = np.column_stack([similarity.apply(points[:, :2]), points[:, 2] * similarity.scale])
    return Landmarks(moved.astype(np.float32), landmarks.presence)


def _locate(
    picture: NDArray[np.uint8], centre: NDArray[np.floating], side: float, angle: float
) -> Landmarks:
    square = square_around(centre, max(side, 1.0) * _MARGIN, angle, _INPUT)
    small = cut(picture, square, _INPUT).astype(np.float32) / np.float32(255)
    flat, presence = run_network(Network.LANDMARKS, small)
    points = flat.reshape(468, 3)
    located = square.inverse().apply(points[:, :2])
    depth = points[:, 2:] / square.scale
    return Landmarks(
        np.concatenate([located, depth], 1).astype(np.float32),
        float(1 / (1 + np.exp(-np.clip(presence.item(), -80, 80)))),
    )
