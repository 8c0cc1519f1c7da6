"""Turns a picture into a framed portrait, or says why it cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.errors import PortraitError
from models.face.appearance import look_at
from models.face.closed_mouth import ClosedMouth, close_slit
from models.face.crop import Crop, frame_portrait
from models.face.cuts import lid_slits, mouth_slit
from models.face.detector import Face, detect_faces
from models.face.geometry import Similarity, cut
from models.face.landmarks import (
    Landmarks,
    locate_landmarks,
    move_landmarks,
    steady_landmarks,
)
from models.face.limits import Circumstances, limits_of
from models.face.mask import face_mask
from models.face.mouth_colours import MouthColours, mouth_colours
from models.face.report import PortraitReport
from models.face.texture import read_texture
from models.face.tone import find_tone
from models.face.window import SIDE, face_cover, face_window
from models.io.face_box import FaceBox, box_in_pixels
from models.io.image import check_picture

MIN_FACE = 40.0
"""Smallest face box that shows enough detail, pixels."""
MAX_YAW = np.radians(32)
MAX_ROLL = np.radians(25)
ALIKE = 0.8
"""Of faces at least this large, as a share of the largest, the one nearest to the middle is taken,
and one that can be used before one that cannot."""
MIN_PRESENCE = 0.5
MAX_DISAGREEMENT, SURE = 0.45, 0.67
"""How far detector and landmarks may differ in where eyes and mouth are, in shares of the eyes'
distance, if the detector's score is below the second value: most cats differ by more."""
CERTAIN = 0.9999
"""Presence of a face that surely does not stand on its head."""
MAX_CANDIDATES = 8
"""Landmarks are located on this many of the largest faces."""
_BOX_MARGIN = 0.5
"""How far around a box is searched, as a share of its sides, if no face of the picture is in it."""


@dataclass(frozen=True)
class Portrait:
    """A framed portrait, its face window, and where things are in both.

    Attributes:
        picture: RGB uint8 [H, W, 3], as it is shown: with closed lips.
        person: coverage of head, hair and shoulders in it, float32 [H, W] in [0, 1].
        landmarks: of the face in it.
        to_window: from its pixels to pixels of the face window.
        window: the face window in the best resolution that there is, RGB uint8 [256, 256, 3].
        cover: where in the window skin may move, float32 [64, 64] in [0, 1].
        mouth_xy: centre of the lips as they were found, float32 [2], pixels of the picture (x, y).
        eyes_xy: centres of the picture's left and right eye, float32 [4], pixels of the picture.
        tone: colours by brightness, uint8 [256, 3], of a face that has no others; else None.
        mouth_colours: behind the lips; of its own teeth, where the given picture shows some.
        report: what was found in what the user gave, and what limits it.
    """

    picture: NDArray[np.uint8]
    person: NDArray[np.float32]
    landmarks: Landmarks
    to_window: Similarity
    window: NDArray[np.uint8]
    cover: NDArray[np.float32]
    mouth_xy: NDArray[np.float32]
    eyes_xy: NDArray[np.float32]
    tone: NDArray[np.uint8] | None
    mouth_colours: MouthColours
    report: PortraitReport

    @property
    def warnings(self) -> tuple[str, ...]:
        """About the picture's quality, for the user, whole sentences."""
        return self.report.warnings


@dataclass(frozen=True)
class Person:
    """The face that was taken.

    Attributes:
        face: as it was detected.
        landmarks: on it.
        faces: people found in the picture, this one included.
        chosen: by a box, not by size and place.
    """

    face: Face
    landmarks: Landmarks
    faces: int
    chosen: bool


def prepare_portrait(
    picture: NDArray[np.uint8], size: int | tuple[int, int] = 512, box: FaceBox | None = None
) -> Portrait:
    """Find the face in RGB uint8 [H, W, 3], close its lips, frame it, separate the background.

    Args:
        picture: what a user gave, of one person or of several.
        size: (height, width) of the frames to show, pixels, or the side of square ones.
        box: around the face to take; without it the largest is taken (``find_person``).

    Raises:
        PortraitError: ``bad_image``, ``image_too_small``, ``image_too_large``, ``bad_box``,
            ``no_face``, ``face_too_small`` or ``face_turned``.
        WeightsError: a bundled network is missing or damaged.
    """
    check_picture(picture)
    person = find_person(picture, box)
    found = steady_landmarks(picture, person.landmarks)
    size = (size, size) if isinstance(size, int) else size
    texture = read_texture(picture, found)
    mouth = mouth_slit(texture)
    closed = close_slit(picture, found, texture, mouth) or ClosedMouth(picture, found)
    crop = frame_portrait(closed.picture, found, size)
    landmarks = move_landmarks(found, crop.to_crop)
    to_window = face_window(landmarks)
    window = cut(closed.picture, face_window(found), SIDE, "edge")
    return Portrait(
        crop.picture,
        face_mask(picture, found, crop.to_crop, size),
        move_landmarks(closed.landmarks, crop.to_crop),
        to_window,
        window,
        face_cover(to_window.apply(landmarks.points[:, :2])),
        landmarks.mouth,
        landmarks.eyes.reshape(4),
        find_tone(window),
        mouth_colours(texture, mouth, lid_slits(texture)),
        report_on(picture, replace(person, landmarks=found), crop),
    )


def find_face(picture: NDArray[np.uint8]) -> Landmarks:
    """Landmarks of the face that ``find_person`` takes; raises as it does."""
    return find_person(picture).landmarks


def find_person(picture: NDArray[np.uint8], box: FaceBox | None = None) -> Person:
    """The face in a box, or else the largest; of several about as large the most central one.

    Raises:
        PortraitError: ``bad_box``, ``no_face``, ``face_too_small`` or ``face_turned``.
    """
    size = picture.shape[1], picture.shape[0]
    within = None if box is None else box_in_pixels(box, size)
    candidates = detect_faces(picture)
    found = _people(picture, candidates)
    if within is None:
        if not found:
            raise _no_face(candidates)
        face, landmarks = _largest(found, np.array(size) / 2)
    else:
        inside = [one for one in found if _is_inside(one[0], within)]
        if not inside:
            again = _search_box(picture, within)
            candidates = [face for face in [*candidates, *again] if _is_inside(face, within)]
            inside = [one for one in _people(picture, again) if _is_inside(one[0], within)]
            found = [*found, *inside]
        if not inside:
            raise _no_face(candidates, "in the box ")
        left, top, width, height = within
        face, landmarks = _largest(inside, np.array([left + width / 2, top + height / 2]))
    _check(face, landmarks)
    return Person(face, landmarks, len(found), box is not None)


def report_on(
    picture: NDArray[np.uint8],
    person: Person,
    crop: Crop | None = None,
    *,
    aspect: float = 1.0,
) -> PortraitReport:
    """What was found in a picture.

    Args:
        picture: RGB uint8 [H, W, 3].
        person: who was taken.
        crop: where it is framed, and given closed lips; else it is shown as it is.
        aspect: width over height of what is pressed into a square.
    """
    landmarks, face = person.landmarks, person.face
    looks = look_at(picture, landmarks)
    eyes = landmarks.eyes.mean(0)
    left, top, right, bottom = (float(side) for side in face.box)
    report = PortraitReport(
        width=picture.shape[1],
        height=picture.shape[0],
        face_box=(round(left, 1), round(top, 1), round(right - left, 1), round(bottom - top, 1)),
        eye_mouth_px=round(float(np.linalg.norm(landmarks.mouth - eyes)), 1),
        yaw=round(float(np.degrees(landmarks.yaw)), 1),
        pitch=round(float(np.degrees(landmarks.pitch)), 1),
        roll=round(float(np.degrees(landmarks.roll)), 1),
        mouth=looks.mouth,
        glasses=looks.glasses,
        black_and_white=looks.black_and_white,
        sharpness=round(looks.sharpness, 2),
        beyond_picture=round(crop.missing, 3) if crop else 0.0,
        faces=person.faces,
    )
    seen = Circumstances(
        landmarks.presence,
        looks.light,
        person.chosen,
        closes_lips=crop is not None,
        aspect=aspect,
    )
    return replace(report, limits=limits_of(report, seen))


def _people(picture: NDArray[np.uint8], candidates: Sequence[Face]) -> list[tuple[Face, Landmarks]]:
    """The candidates that are human faces, with their landmarks, each once, the largest first."""
    people: list[tuple[Face, Landmarks]] = []
    for face in candidates[:MAX_CANDIDATES]:
        landmarks = _upright_or_not(picture, face)
        duplicate = any(_same(landmarks, other) for _, other in people)
        if landmarks.presence >= MIN_PRESENCE and _is_human(face, landmarks) and not duplicate:
            people.append((face, landmarks))
    return people


def _upright_or_not(picture: NDArray[np.uint8], face: Face) -> Landmarks:
    """Landmarks of a face that may stand on its head, which the detector does not notice."""
    landmarks = locate_landmarks(picture, face)
    if not MIN_PRESENCE <= landmarks.presence < CERTAIN:
        return landmarks
    eyes, rest = face.points[1::-1], face.points[2:]
    turned = locate_landmarks(picture, replace(face, points=np.concatenate([eyes, rest])))
    return turned if turned.presence > landmarks.presence else landmarks


def _is_human(face: Face, landmarks: Landmarks) -> bool:
    """Whether the detector is sure, or sees eyes and mouth where the landmarks have them.

    In a profile one eye is a guess of both; it is refused as such.
    """
    if face.score >= SURE or abs(landmarks.yaw) > MAX_YAW:
        return True
    places = np.concatenate([landmarks.eyes, landmarks.mouth[None]])
    either_way_up = [face.points[[0, 1, 3]], face.points[[1, 0, 3]]]
    apart = min(np.linalg.norm(places - points, axis=1).max() for points in either_way_up)
    return bool(apart <= MAX_DISAGREEMENT * np.linalg.norm(places[1] - places[0]))


def _same(one: Landmarks, other: Landmarks) -> bool:
    """Whether two detections turned out to be one face."""
    return bool(np.linalg.norm(one.mouth - other.mouth) < np.linalg.norm(np.ptp(one.eyes, 0)))


def _largest(
    people: Sequence[tuple[Face, Landmarks]], middle: NDArray[np.floating]
) -> tuple[Face, Landmarks]:
    """The largest face; of several about as large, the one nearest to ``middle``."""
    largest = max(face.side for face, _ in people)
    alike = [one for one in people if one[0].side >= ALIKE * largest]
    usable = [one for one in alike if _refusal(*one) is None]
    return min(usable or alike, key=lambda one: float(np.linalg.norm(one[0].centre - middle)))


def _is_inside(face: Face, box: FaceBox) -> bool:
    left, top, width, height = box
    x, y = face.centre
    return bool(left <= x <= left + width and top <= y <= top + height)


def _search_box(picture: NDArray[np.uint8], box: FaceBox) -> list[Face]:
    """Faces in and around a box, which may be too small to be found in the whole picture."""
    left, top, width, height = box
    margin = _BOX_MARGIN * max(width, height)
    low = np.maximum([left - margin, top - margin], 0).astype(int)
    high = np.ceil([left + width + margin, top + height + margin]).astype(int)
    part = np.ascontiguousarray(picture[low[1] : high[1], low[0] : high[0]])
    moved = low.astype(np.float32)
    return [
        Face(face.box + np.tile(moved, 2), face.score, face.points + moved)
        for face in detect_faces(part)
    ]


def _no_face(candidates: Sequence[Face], where: str = "") -> PortraitError:
    if candidates:
        got = (
            "only something like one (an animal, a toy, a pattern, or a face that is covered or"
            " upside down)"
        )
    else:
        got = "none"
    return PortraitError(
        f"expected a human face {where}that looks at the camera, got {got};"
        " send a picture in which a person's face is large, upright and uncovered",
        code="no_face",
    )


def _check(face: Face, landmarks: Landmarks) -> None:
    refusal = _refusal(face, landmarks)
    if refusal is not None:
        raise refusal


def _refusal(face: Face, landmarks: Landmarks) -> PortraitError | None:
    """Why a face cannot be used."""
    if face.side < MIN_FACE:
        return PortraitError(
            f"expected a face of at least {MIN_FACE:.0f} pixels, got {face.side:.0f};"
            " send the picture in a higher resolution or taken from nearer",
            code="face_too_small",
        )
    if abs(landmarks.yaw) > MAX_YAW:
        return PortraitError(
            f"expected a face that looks at the camera, got one turned aside by"
            f" {abs(np.degrees(landmarks.yaw)):.0f} degrees; send a picture taken from the front",
            code="face_turned",
        )
    if abs(landmarks.roll) > MAX_ROLL:
        return PortraitError(
            f"expected an upright face, got one tilted by {abs(np.degrees(landmarks.roll)):.0f}"
            " degrees; turn the picture until the eyes are level",
            code="face_turned",
        )
    return None
