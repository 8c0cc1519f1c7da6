"""Follows one face through a video by its landmarks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.errors import PortraitError
from models.face.detector import detect_faces
from models.face.geometry import cut
from models.face.landmarks import Landmarks, follow_landmarks, locate_landmarks
from models.face.portrait import MIN_PRESENCE, Person, find_person
from models.face.window import SIDE, face_window
from models.finetune.footage import FootageError
from models.io.console import progress

LOOK_EVERY = 100
"""The whole frame is searched for faces every so many frames, and where the face was lost."""
SEARCH_EVERY = 5
"""Frames between two searches while no face is there."""
RIVAL = 0.6
"""Another face at least this large, as a share of the first, may be who speaks."""
MEETINGS = 2
"""Searches that find such a face before the video is refused."""


@dataclass(frozen=True)
class LandmarkTrack:
    """One face in T frames.

    Attributes:
        points: landmarks, float32 [T, 468, 3], pixels of the frame; where no face was found the
            last ones known.
        presence: how certain it is that the face is there, [T]; 0 where none was found.
        sharpness: of the face window, [T]; only comparisons mean anything.
    """

    points: NDArray[np.float32]
    presence: NDArray[np.float64]
    sharpness: NDArray[np.float64]


def track_landmarks(frames: Iterable[NDArray[np.uint8]], count: int) -> LandmarkTrack:
    """Track the only, or clearly largest, face of RGB frames.

    Raises:
        FootageError: ``no_face`` or ``several_faces``.
    """
    points = np.zeros((count, 468, 3), np.float32)
    presence, sharpness = np.zeros(count), np.zeros(count)
    search = _Search()
    known: Landmarks | None = None
    for k, frame in enumerate(progress(frames, "tracking the face", count)):
        seen = follow_landmarks(frame, known) if known is not None else None
        if seen is not None and seen.presence < MIN_PRESENCE:
            seen = None
        if k % LOOK_EVERY == 0 or (seen is None and k % SEARCH_EVERY == 0):
            found = search(frame)
            seen = seen if seen is not None else found
        known = seen
        if seen is not None:
            points[k], presence[k] = seen.points, seen.presence
            sharpness[k] = _sharpness(frame, seen)
        elif k:
            points[k] = points[k - 1]
    if not presence.any():
        raise FootageError(f"no face could be followed; {search.reason}", code="no_face")
    return LandmarkTrack(points, presence, sharpness)


class _Search:
    """Looks for the face in whole frames and remembers why it could not be taken."""

    def __init__(self) -> None:
        self.reason = "film a face that looks at the camera, larger, upright and uncovered"
        self._meetings = 0

    def __call__(self, frame: NDArray[np.uint8]) -> Landmarks | None:
        try:
            person = find_person(frame)
        except PortraitError as error:
            self.reason = str(error).replace("send a picture", "film again")
            return None
        self._meetings += person.faces > 1 and _has_rival(frame, person)
        if self._meetings >= MEETINGS:
            raise FootageError(
                "expected one person, got several of similar size in the video;"
                " cut it so that it shows one",
                code="several_faces",
            )
        return person.landmarks


def _has_rival(frame: NDArray[np.uint8], person: Person) -> bool:
    """Whether another person is about as large."""
    return any(
        face.side >= RIVAL * person.face.side
        and float(np.linalg.norm(face.centre - person.face.centre)) > 0.5 * person.face.side
        and locate_landmarks(frame, face).presence >= MIN_PRESENCE
        for face in detect_faces(frame)
    )


def _sharpness(frame: NDArray[np.uint8], landmarks: Landmarks) -> float:
    grey = cv2.cvtColor(cut(frame, face_window(landmarks), SIDE), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())
