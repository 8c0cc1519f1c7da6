"""Tracks a face through a video by landmarks: lip gap, lip width and eye openness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.face.detector import Face, detect_faces
from models.face.landmarks import INNER_LIPS, Landmarks, locate_landmarks
from models.io.console import progress

UPPER_LIP, LOWER_LIP = 13, 14
LIP_CORNERS = (78, 308)
EYELIDS = ((159, 145), (386, 374))
MIN_PRESENCE = 0.5
_SEARCHED_FRAMES = 5
"""Number of frames, evenly spread, in which a face is searched."""

Signal = NDArray[np.float64]


@dataclass(frozen=True)
class FaceTrack:
    """Landmark measurements of a video of T frames; NaN where no face was found.

    Attributes:
        gap: between the inner lips, [T].
        width: between the corners of the mouth, [T].
        eyes: between the eyelids, mean of both eyes, [T].
        eyes_xy: middles of the picture's left and right eye, [T, 2, 2], pixels.
        mouth_xy: middle of the lips, [T, 2], pixels.
        lips: inner edges of the upper and the lower lip, [T, 2, 11, 2], pixels.
        unit: median distance from the middle of the eyes to the mouth, pixels; the unit of ``gap``,
            ``width`` and ``eyes``.
    """

    gap: Signal
    width: Signal
    eyes: Signal
    eyes_xy: Signal
    mouth_xy: Signal
    lips: Signal
    unit: float


def track_face(frames: NDArray[np.uint8], label: str = "landmarks") -> FaceTrack | None:
    """Measure RGB uint8 [T, H, W, 3]; None if no face is found in it.

    The face is searched once and every frame starts from that position, so that no measurement
    depends on earlier frames.
    """
    face = _first_face(frames)
    if face is None:
        return None
    marks = [locate_landmarks(frame, face) for frame in progress(frames, label, len(frames))]
    found = np.array([one.presence >= MIN_PRESENCE for one in marks])
    if not found.any():
        return None
    between = np.stack([one.eyes.mean(0) for one in marks])
    mouth = np.stack([one.mouth for one in marks])
    unit = float(np.median(np.linalg.norm(mouth - between, axis=1)[found]))
    lids = np.mean([_distances(marks, *pair) for pair in EYELIDS], axis=0)
    return FaceTrack(
        np.where(found, _distances(marks, UPPER_LIP, LOWER_LIP) / unit, np.nan),
        np.where(found, _distances(marks, *LIP_CORNERS) / unit, np.nan),
        np.where(found, lids / unit, np.nan),
        np.stack([one.eyes for one in marks]).astype(np.float64),
        mouth.astype(np.float64),
        np.stack([one.points[np.array(INNER_LIPS), :2] for one in marks]).astype(np.float64),
        unit,
    )


def _first_face(frames: NDArray[np.uint8]) -> Face | None:
    for k in np.linspace(0, len(frames) - 1, _SEARCHED_FRAMES).astype(int):
        found = detect_faces(frames[k])
        if found and locate_landmarks(frames[k], found[0]).presence >= MIN_PRESENCE:
            return found[0]
    return None


def _distances(marks: list[Landmarks], first: int, second: int) -> Signal:
    points = np.stack([one.points[[first, second], :2] for one in marks])
    distances: Signal = np.linalg.norm(points[:, 0] - points[:, 1], axis=1).astype(np.float64)
    return distances
