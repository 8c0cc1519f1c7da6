"""Which person of a picture is taken: the largest, the most central, or the one in a box."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import PortraitError
from models.face import portrait as portraits
from models.face.detector import detect_faces
from models.face.portrait import Person, find_person, prepare_portrait
from models.io.face_box import FaceBox, box_in_pixels, read_face_box

pytestmark = pytest.mark.unit

Picture = NDArray[np.uint8]
GREY = 90


def scene(width: int, height: int, *places: tuple[Picture, int, int, int]) -> Picture:
    """Photos on grey: (photo, left, top, side)."""
    picture = np.full((height, width, 3), GREY, np.uint8)
    for photo, left, top, side in places:
        small = cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA)
        picture[top : top + side, left : left + side] = small
    return picture


def middle(person: Person) -> float:
    """Where the face is, across."""
    return float(person.face.centre[0])


def refusal(picture: Picture, box: FaceBox | None) -> PortraitError:
    """What is said about a picture that is refused."""
    with pytest.raises(PortraitError) as caught:
        find_person(picture, box)
    assert "\n" not in str(caught.value)
    return caught.value


def test_the_largest_face_is_taken(photo: Picture) -> None:
    picture = scene(800, 420, (photo, 0, 0, 300), (photo, 380, 0, 420))
    person = find_person(picture)
    assert middle(person) > 380
    assert person.faces == 2


def test_of_faces_about_as_large_the_most_central_one_is_taken(photo: Picture) -> None:
    picture = scene(1000, 320, (photo, 0, 0, 320), (photo, 340, 0, 310), (photo, 680, 0, 320))
    person = find_person(picture)
    assert 340 < middle(person) < 650
    assert person.faces == 3


def test_one_that_can_be_used_is_taken_before_one_that_cannot(photo: Picture) -> None:
    lying = np.ascontiguousarray(np.rot90(photo))
    picture = scene(1000, 320, (lying, 340, 0, 320), (photo, 680, 0, 320))
    assert middle(find_person(picture)) > 680


def test_several_people_are_reported(photo: Picture) -> None:
    report = prepare_portrait(scene(660, 320, (photo, 0, 0, 320), (photo, 340, 0, 320))).report
    assert report.faces == 2
    assert report.limits[0].code == "several_faces"
    assert "2 people" in report.limits[0].text
    assert "box" in report.limits[0].hint


@pytest.mark.parametrize("box", [(340.0, 0.0, 320.0, 320.0), (0.5, 0.0, 0.5, 1.0)])
def test_a_box_chooses(photo: Picture, box: FaceBox) -> None:
    picture = scene(660, 320, (photo, 0, 0, 320), (photo, 340, 0, 320))
    report = prepare_portrait(picture, box=box).report
    assert report.face_box[0] > 340
    assert "several_faces" not in [limit.code for limit in report.limits]
    again = prepare_portrait(picture, box=report.face_box).report
    assert again.face_box == report.face_box, "a report's box chooses the same face"


def test_a_box_finds_a_face_that_is_lost_in_the_whole_picture(photo: Picture) -> None:
    picture = scene(1900, 1300, (photo, 0, 0, 1300), (photo, 1600, 40, 160))
    assert middle(find_person(picture)) < 1300
    assert find_person(picture, (1600, 40, 160, 160)).face.centre[0] > 1600


def test_a_box_without_a_face(photo: Picture) -> None:
    error = refusal(scene(800, 320, (photo, 0, 0, 320)), (600, 0, 200, 200))
    assert error.code == "no_face"
    assert "in the box" in str(error)


def test_a_box_beside_the_picture(photo: Picture) -> None:
    error = refusal(photo, (400, 0, 20, 20))
    assert error.code == "bad_box"
    assert "within the picture of 320x320" in str(error)


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "0,0,0,5", "-1,0,5,5", "0,0,nan,5", "0,0,inf,5"]
)
def test_what_is_no_box(text: str) -> None:
    with pytest.raises(PortraitError, match=r"expected a box of four numbers") as caught:
        read_face_box(text)
    assert caught.value.code == "bad_box"
    assert "\n" not in str(caught.value)


def test_boxes_in_pixels_and_shares() -> None:
    assert read_face_box("120, 40,300,300") == (120, 40, 300, 300)
    assert read_face_box([0.5, 0, 0.5, 1]) == (0.5, 0, 0.5, 1)
    assert box_in_pixels((0.5, 0, 0.5, 1), (640, 480)) == (320, 0, 320, 480)
    assert box_in_pixels((600, 400, 100, 100), (640, 480)) == (600, 400, 40, 80), "cut to it"


@pytest.mark.parametrize(
    ("score", "moved", "taken"), [(0.6, 0.6, False), (0.6, 0.3, True), (0.8, 0.6, True)]
)
def test_where_detector_and_landmarks_differ_is_no_human(
    photo: Picture, monkeypatch: pytest.MonkeyPatch, score: float, moved: float, taken: bool
) -> None:
    """As in pictures of cats, whose eyes the landmarks miss."""
    (face,) = detect_faces(photo)
    points = face.points.copy()
    points[3, 1] += moved * np.linalg.norm(points[1] - points[0])
    doubtful = replace(face, score=score, points=points)
    monkeypatch.setattr(portraits, "detect_faces", lambda _: [doubtful])
    if taken:
        assert find_person(photo).face is doubtful
    else:
        assert "an animal" in str(refusal(photo, None))


def test_what_is_nearly_a_face_is_refused_kindly() -> None:
    smiley = np.full((400, 400, 3), 255, np.uint8)
    cv2.circle(smiley, (200, 200), 150, (250, 220, 60), -1)
    for x in (145, 255):
        cv2.circle(smiley, (x, 160), 18, (0, 0, 0), -1)
    cv2.ellipse(smiley, (200, 215), (80, 70), 0, 20, 160, (0, 0, 0), 8)
    error = refusal(smiley, None)
    assert error.code == "no_face"
    assert "human face" in str(error) and "animal" in str(error)
    assert "got none" in str(refusal(np.full((300, 300, 3), 200, np.uint8), None))
