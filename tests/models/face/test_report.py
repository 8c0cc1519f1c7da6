"""The report on a portrait: what was found, and each limit with its hint."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.face.limits import Circumstances, limits_of
from models.face.portrait import prepare_portrait
from models.face.report import PortraitReport, report_of
from models.io.image import load_image
from server.assets import draw_portrait

pytestmark = pytest.mark.unit

Picture = NDArray[np.uint8]
PERFECT = PortraitReport(
    width=600,
    height=600,
    face_box=(200, 200, 200, 200),
    eye_mouth_px=90,
    yaw=0,
    pitch=0,
    roll=0,
    mouth="closed",
    glasses=False,
    black_and_white=False,
    sharpness=0.9,
    beyond_picture=0,
    faces=1,
)
CLEAR = Circumstances(presence=1.0, light=200.0, chosen=False)


def codes(report: PortraitReport) -> list[str]:
    """Of its limits."""
    return [limit.code for limit in report.limits]


def test_a_perfect_picture_has_no_limits() -> None:
    assert limits_of(PERFECT, CLEAR) == ()


@pytest.mark.parametrize(
    ("code", "found", "seen"),
    [
        ("several_faces", {"faces": 2}, {}),
        ("uncertain_face", {}, {"presence": 0.7}),
        ("face_turned", {"yaw": -24}, {}),
        ("face_pitched", {"pitch": -23}, {}),
        ("head_tilted", {"roll": 14}, {}),
        ("low_resolution", {"sharpness": 0.1, "eye_mouth_px": 30}, {}),
        ("blurred", {"sharpness": 0.2}, {}),
        ("close_crop", {"beyond_picture": 0.2}, {}),
        ("dark", {}, {"light": 40.0}),
        ("squeezed", {}, {"aspect": 1.5}),
        ("squeezed", {}, {"aspect": 0.75}),
        ("mouth_open", {"mouth": "open"}, {}),
        ("mouth_open", {"mouth": "smile_with_teeth"}, {}),
    ],
)
def test_each_limit(code: str, found: dict[str, Any], seen: dict[str, Any]) -> None:
    (limit,) = limits_of(replace(PERFECT, **found), replace(CLEAR, **seen))
    assert limit.code == code
    assert limit.text.endswith(".") and limit.hint.endswith(".")
    assert replace(PERFECT, limits=(limit,)).warnings == (f"{limit.text} {limit.hint}",)


def test_lips_that_stay_open_are_no_limit() -> None:
    assert limits_of(replace(PERFECT, mouth="open"), replace(CLEAR, closes_lips=False)) == ()


def test_who_chose_a_person_is_not_told_of_the_others() -> None:
    assert limits_of(replace(PERFECT, faces=2), replace(CLEAR, chosen=True)) == ()


def test_what_is_found_in_a_photograph(photo: Picture) -> None:
    report = prepare_portrait(photo).report
    assert (report.width, report.height, report.faces) == (320, 320, 1)
    left, top, width, height = report.face_box
    assert 0 < left < left + width < 320 and 0 < top < top + height < 320
    assert report.eye_mouth_px == pytest.approx(42, abs=4)
    assert max(abs(report.yaw), abs(report.pitch), abs(report.roll)) < 10
    assert report.mouth == "smile_with_teeth"
    assert report.glasses is False
    assert not report.black_and_white
    assert report.sharpness > 0.5
    assert json.loads(json.dumps(report.as_record()))["face_box"] == list(report.face_box)


def test_black_and_white(photo: Picture) -> None:
    grey = np.repeat(photo.mean(2, keepdims=True).astype(np.uint8), 3, 2)
    assert prepare_portrait(grey).report.black_and_white


def test_blurred_and_dark(photo: Picture) -> None:
    large = np.asarray(cv2.resize(photo, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC), np.uint8)
    blurred = np.asarray(cv2.GaussianBlur(large, (0, 0), 6.0), np.uint8)
    assert "blurred" in codes(prepare_portrait(blurred).report)
    assert "blurred" not in codes(prepare_portrait(photo).report)
    assert "dark" in codes(prepare_portrait((photo * 0.2).astype(np.uint8)).report)


def test_glasses_with_a_dark_bar_across_the_nose(photo: Picture) -> None:
    worn = np.asarray(cv2.resize(photo, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8)
    eyes = prepare_portrait(worn).report
    left, top, width, height = eyes.face_box
    y = round(top + 0.29 * height)
    for x in (0.31, 0.69):
        centre = (round(left + x * width), y)
        cv2.circle(worn, centre, round(0.17 * width), (20, 20, 20), 4)
    ends = ((round(left + 0.46 * width), y), (round(left + 0.54 * width), y))
    cv2.line(worn, *ends, (20, 20, 20), 6)
    assert prepare_portrait(worn).report.glasses is True


def test_a_clear_drawing_is_taken() -> None:
    report = prepare_portrait(load_image(draw_portrait(300))).report
    assert report.faces == 1


def test_the_report_of_an_identity(photo: Picture) -> None:
    portrait = prepare_portrait(photo)
    assert report_of(portrait) is portrait.report
    assert report_of(object()) is None


def test_a_reduced_picture_is_told_in_pixels_of_its_file() -> None:
    portrait = SimpleNamespace(portrait=SimpleNamespace(report=PERFECT))
    told = report_of(portrait, 2.0)
    assert told is not None
    assert (told.width, told.height) == (2 * PERFECT.width, 2 * PERFECT.height)
    assert told.face_box == tuple(2 * side for side in PERFECT.face_box)
    assert told.eye_mouth_px == 2 * PERFECT.eye_mouth_px
    assert (told.yaw, told.sharpness) == (PERFECT.yaw, PERFECT.sharpness)
