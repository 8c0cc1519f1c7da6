"""Makes of any picture the portrait that an identity needs, or says why it cannot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import PortraitError
from models.face.crop import SIDE, Crop, crop_portrait
from models.face.detector import Face, detect
from models.face.landmarks import Landmarks, landmarks
from models.face.mask import face_mask
from models.io.image import check_picture

MASK_SIDE = 64
MIN_FACE = 60.0
"""Smallest face box that shows enough detail, pixels."""
RIVAL = 0.6
"""A second face at least this large against the first makes it unclear who is meant."""
MIN_PRESENCE = 0.5
MAX_CANDIDATES = 8
"""The largest faces are looked at closely; a crowd is refused on the first two anyway."""
MAX_YAW = np.radians(32)
MAX_ROLL = np.radians(25)
WARN_YAW = np.radians(18)
WARN_ROLL = np.radians(10)
WARN_MISSING = 0.02
WARN_SCALE = 1.7
"""Magnification of the crop beyond which it looks soft."""


@dataclass(frozen=True)
class Portrait:
    """What an identity is made of.

    Attributes:
        crop: RGB uint8 [256, 256, 3].
        mask: cover of head, hair and shoulders, float32 [64, 64] in [0, 1].
        mouth_xy: middle of the lips, float32 [2], crop pixels (x, y).
        eyes_xy: middles of the picture's left and right eye, float32 [4], crop pixels.
        warnings: what a person should know about the picture, whole sentences.
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
    marks = find_face(picture)
    crop = crop_portrait(picture, marks)
    return Portrait(
        crop.picture,
        face_mask(picture, marks, crop.to_crop, SIDE, MASK_SIDE),
        crop.to_crop.apply(marks.mouth).astype(np.float32),
        crop.to_crop.apply(marks.eyes).reshape(4).astype(np.float32),
        _warnings(marks, crop),
    )


def find_face(picture: NDArray[np.uint8]) -> Landmarks:
    """The points of the one face that a picture is about.

    Raises:
        PortraitError: ``no_face``, ``several_faces``, ``face_too_small`` or ``face_turned``.
    """
    faces: list[tuple[Face, Landmarks]] = []
    for face in detect(picture)[:MAX_CANDIDATES]:
        marks = landmarks(picture, face)
        known = any(_same(marks, other) for _, other in faces)
        if marks.presence >= MIN_PRESENCE and not known:
            faces.append((face, marks))
    if not faces:
        raise PortraitError(
            "expected one face that looks at the camera, got none;"
            " send a picture in which the face is larger, upright and uncovered",
            code="no_face",
        )
    face, marks = faces[0]
    rivals = sum(other.side >= RIVAL * face.side for other, _ in faces[1:])
    if rivals:
        raise PortraitError(
            f"expected one face, got {rivals + 1} of similar size;"
            " cut the picture so that it shows one person",
            code="several_faces",
        )
    _check(face, marks)
    return marks


def _same(one: Landmarks, other: Landmarks) -> bool:
    """Whether two detections turned out to be one face."""
    return bool(np.linalg.norm(one.mouth - other.mouth) < np.linalg.norm(np.ptp(one.eyes, 0)))


def _check(face: Face, marks: Landmarks) -> None:
    if face.side < MIN_FACE:
        raise PortraitError(
            f"expected a face of at least {MIN_FACE:.0f} pixels, got {face.side:.0f};"
            " send the picture in a higher resolution or taken from nearer",
            code="face_too_small",
        )
    if abs(marks.yaw) > MAX_YAW:
        raise PortraitError(
            f"expected a face that looks at the camera, got one turned aside by"
            f" {abs(np.degrees(marks.yaw)):.0f} degrees; send a picture taken from the front",
            code="face_turned",
        )
    if abs(marks.roll) > MAX_ROLL:
        raise PortraitError(
            f"expected an upright face, got one tilted by {abs(np.degrees(marks.roll)):.0f}"
            " degrees; turn the picture until the eyes are level",
            code="face_turned",
        )


def _warnings(marks: Landmarks, crop: Crop) -> tuple[str, ...]:
    said = []
    if abs(marks.yaw) > WARN_YAW:
        said.append("The face is turned aside; one taken from the front moves better.")
    if abs(marks.roll) > WARN_ROLL:
        said.append("The head is tilted; an upright one moves better.")
    if crop.missing > WARN_MISSING:
        said.append(
            f"The picture ends close to the head; {100 * crop.missing:.0f} % of the view was"
            " filled in. Leave more room around the head."
        )
    if crop.to_crop.scale > WARN_SCALE:
        said.append(
            f"The face is small and was magnified {crop.to_crop.scale:.1f} times to"
            f" {SIDE} pixels; it will look soft."
        )
    return tuple(said)
