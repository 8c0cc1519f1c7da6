"""Turns a picture into a framed portrait, or says why it cannot be used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import PortraitError
from models.face.crop import SIDE, Crop, crop_portrait
from models.face.detector import Face, detect_faces
from models.face.landmarks import Landmarks, locate_landmarks
from models.face.mask import face_mask
from models.io.image import check_picture

MASK_SIDE = 64
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
WARN_SCALE = 1.7
"""Magnification of the crop beyond which it looks soft."""


@dataclass(frozen=True)
class Portrait:
    """A framed face with its mask and the positions of its mouth and eyes.

    Attributes:
        crop: RGB uint8 [256, 256, 3].
        mask: coverage of head, hair and shoulders, float32 [64, 64] in [0, 1].
        mouth_xy: centre of the lips, float32 [2], crop pixels (x, y).
        eyes_xy: centres of the picture's left and right eye, float32 [4], crop pixels.
        warnings: about the picture's quality, for the user, whole sentences.
    """

    crop: NDArray[np.uint8]
    mask: NDArray[np.float32]
    mouth_xy: NDArray[np.float32]
    eyes_xy: NDArray[np.float32]
    warnings: tuple[str, ...]


def prepare_portrait(picture: NDArray[np.uint8]) -> Portrait:
    """Find the one face in RGB uint8 [H, W, 3], frame it and separate it from the background.

    Raises:
        PortraitError: ``bad_image``, ``image_too_small``, ``image_too_large``, ``no_face``,
            ``several_faces``, ``face_too_small`` or ``face_turned``.
        WeightsError: a bundled network is missing or damaged.
    """
    check_picture(picture)
    landmarks = find_face(picture)
    crop = crop_portrait(picture, landmarks)
    return Portrait(
        crop.picture,
        face_mask(picture, landmarks, crop.to_crop, SIDE, MASK_SIDE),
        crop.to_crop.apply(landmarks.mouth).astype(np.float32),
        crop.to_crop.apply(landmarks.eyes).reshape(4).astype(np.float32),
        _warnings(landmarks, crop),
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
    if crop.to_crop.scale > WARN_SCALE:
        warnings.append(
            f"The face is small and was magnified {crop.to_crop.scale:.1f} times to"
            f" {SIDE} pixels; it will look soft."
        )
    return tuple(warnings)
