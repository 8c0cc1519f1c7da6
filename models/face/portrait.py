"""Turns a picture into a framed portrait, or says why it cannot be used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import PortraitError
from models.face.crop import Crop, frame_portrait
from models.face.detector import Face, detect_faces
from models.face.geometry import Similarity, cut
from models.face.landmarks import (
    Landmarks,
    locate_landmarks,
    move_landmarks,
    steady_landmarks,
)
from models.face.mask import face_mask
from models.face.window import SIDE, face_cover, face_window
from models.io.image import check_picture

MIN_FACE = 60.0
"""Smallest face box that shows enough detail, pixels."""
RIVAL = 0.6
"""A second face at least this large, as a share of the first, makes the picture ambiguous."""
MIN_PRESENCE = 0.5
MAX_CANDIDATES = 8
"""Landmarks are located on this many of the largest faces; two similar ones suffice to refuse."""
MAX_YAW = np.radians(32)
MAX_ROLL = np.radians(25)
WARN_YAW = np.radians(18)
WARN_ROLL = np.radians(10)
WARN_MISSING = 0.02
WARN_UNIT = 36.0
"""Distance from the eyes to the mouth below which a face looks soft, pixels of the picture."""


@dataclass(frozen=True)
class Portrait:
    """A framed portrait, its face window, and where things are in both.

    Attributes:
        picture: RGB uint8 [S, S, 3], as it is shown.
        person: coverage of head, hair and shoulders in it, float32 [S, S] in [0, 1].
        landmarks: of the face in it.
        to_window: from its pixels to pixels of the face window.
        window: the face window in the best resolution that there is, RGB uint8 [256, 256, 3].
        cover: where in the window skin may move, float32 [64, 64] in [0, 1].
        mouth_xy: centre of the lips, float32 [2], pixels of the picture (x, y).
        eyes_xy: centres of the picture's left and right eye, float32 [4], pixels of the picture.
        warnings: about the picture's quality, for the user, whole sentences.
    """

    picture: NDArray[np.uint8]
    person: NDArray[np.float32]
    landmarks: Landmarks
    to_window: Similarity
    window: NDArray[np.uint8]
    cover: NDArray[np.float32]
    mouth_xy: NDArray[np.float32]
    eyes_xy: NDArray[np.float32]
    warnings: tuple[str, ...]


def prepare_portrait(picture: NDArray[np.uint8], side: int = 512) -> Portrait:
    """Find the one face in RGB uint8 [H, W, 3], frame it and separate it from the background.

    Args:
        picture: what a user gave.
        side: of the frames to show, pixels.

    Raises:
        PortraitError: ``bad_image``, ``image_too_small``, ``image_too_large``, ``no_face``,
            ``several_faces``, ``face_too_small`` or ``face_turned``.
        WeightsError: a bundled network is missing or damaged.
    """
    check_picture(picture)
    found = steady_landmarks(picture, find_face(picture))
    crop = frame_portrait(picture, found, side)
    landmarks = move_landmarks(found, crop.to_crop)
    to_window = face_window(landmarks)
    return Portrait(
        crop.picture,
        face_mask(picture, found, crop.to_crop, side, side),
        landmarks,
        to_window,
        cut(picture, face_window(found), SIDE, "edge"),
        face_cover(to_window.apply(landmarks.points[:, :2])),
        landmarks.mouth,
        landmarks.eyes.reshape(4),
        _warnings(found, crop),
    )


def find_face(picture: NDArray[np.uint8]) -> Landmarks:
    """Landmarks of the only, or clearly largest, face.

    Raises:
        PortraitError: ``no_face``, ``several_faces``, ``face_too_small`` or ``face_turned``.
    """
    faces: list[tuple[Face, Landmarks]] = []
    for face in detect_faces(picture)[:MAX_CANDIDATES]:
        landmarks = locate_landmarks(picture, face)
        duplicate = any(_same(landmarks, other) for _, other in faces)
        if landmarks.presence >= MIN_PRESENCE and not duplicate:
            faces.append((face, landmarks))
    if not faces:
        raise PortraitError(
            "expected one face that looks at the camera, got none;"
            " send a picture in which the face is larger, upright and uncovered",
            code="no_face",
        )
    face, landmarks = faces[0]
    rivals = sum(other.side >= RIVAL * face.side for other, _ in faces[1:])
    if rivals:
        raise PortraitError(
            f"expected one face, got {rivals + 1} of similar size;"
            " cut the picture so that it shows one person",
            code="several_faces",
        )
    _check(face, landmarks)
    return landmarks


def _same(one: Landmarks, other: Landmarks) -> bool:
    """Whether two detections turned out to be one face."""
    return bool(np.linalg.norm(one.mouth - other.mouth) < np.linalg.norm(np.ptp(one.eyes, 0)))


def _check(face: Face, landmarks: Landmarks) -> None:
    if face.side < MIN_FACE:
        raise PortraitError(
            f"expected a face of at least {MIN_FACE:.0f} pixels, got {face.side:.0f};"
            " send the picture in a higher resolution or taken from nearer",
            code="face_too_small",
        )
    if abs(landmarks.yaw) > MAX_YAW:
        raise PortraitError(
            f"expected a face that looks at the camera, got one turned aside by"
            f" {abs(np.degrees(landmarks.yaw)):.0f} degrees; send a picture taken from the front",
            code="face_turned",
        )
    if abs(landmarks.roll) > MAX_ROLL:
        raise PortraitError(
            f"expected an upright face, got one tilted by {abs(np.degrees(landmarks.roll)):.0f}"
            " degrees; turn the picture until the eyes are level",
            code="face_turned",
        )


def _warnings(landmarks: Landmarks, crop: Crop) -> tuple[str, ...]:
    warnings = []
    if abs(landmarks.yaw) > WARN_YAW:
        warnings.append("The face is turned aside; one taken from the front moves better.")
    if abs(landmarks.roll) > WARN_ROLL:
        warnings.append("The head is tilted; an upright one moves better.")
    if crop.missing > WARN_MISSING:
        warnings.append(
            f"The picture ends close to the head; {100 * crop.missing:.0f} % of the view was"
            " filled in. Leave more room around the head."
        )
    unit = float(np.linalg.norm(landmarks.mouth - landmarks.eyes.mean(0)))
    if unit < WARN_UNIT:
        warnings.append(
            f"The face is small, {unit:.0f} pixels from the eyes to the mouth; it will look soft."
        )
    return tuple(warnings)
