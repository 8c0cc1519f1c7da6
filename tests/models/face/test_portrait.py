"""Portraits from pictures: what is accepted lands in the right place, the rest is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import PortraitError, WeightsError
from models.face import networks
from models.face.crop import LARGEST_UNIT, MIDDLE, UNIT
from models.face.detector import detect_faces
from models.face.landmarks import locate_landmarks
from models.face.mask import segment
from models.face.portrait import Portrait, find_face, prepare_portrait
from models.face.window import MIDDLE as WINDOW_MIDDLE
from models.face.window import SIDE as WINDOW_SIDE
from models.face.window import UNIT as WINDOW_UNIT

pytestmark = pytest.mark.unit

Picture = NDArray[np.uint8]


def resized(picture: Picture, factor: float) -> Picture:
    """The picture, ``factor`` times as large."""
    kind = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=kind), np.uint8)


def turned(picture: Picture, degrees: float) -> Picture:
    """The picture turned about its middle, edges repeated."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    size = (width, height)
    out = cv2.warpAffine(picture, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.uint8)


def refusal(picture: Picture) -> str:
    """The code with which a picture is refused, in one line."""
    with pytest.raises(PortraitError) as caught:
        prepare_portrait(picture)
    assert "\n" not in str(caught.value)
    return caught.value.code


def eyes_and_mouth(portrait: Portrait, *, window: bool = False) -> NDArray[np.float64]:
    """Centres of left eye, right eye and mouth in the picture or its window, [3, 2]."""
    places = np.concatenate([portrait.eyes_xy.reshape(2, 2), portrait.mouth_xy[None]])
    return portrait.to_window.apply(places) if window else places.astype(np.float64)


def assert_placed(places: NDArray[np.float64], unit: float, middle: NDArray[np.float64]) -> None:
    """Eyes and mouth are ``unit`` pixels apart around ``middle``."""
    eyes, mouth = places[:2].mean(0), places[2]
    assert np.linalg.norm(mouth - eyes) == pytest.approx(unit, abs=0.5)
    assert np.allclose((mouth + eyes) / 2, middle, atol=0.5)
    assert places[0, 0] < places[1, 0]


def assert_windowed(portrait: Portrait) -> None:
    """Eyes and mouth lie in the window where training has them, upright."""
    places = eyes_and_mouth(portrait, window=True)
    assert_placed(places, WINDOW_UNIT, np.array(WINDOW_MIDDLE))
    assert places[0, 1] == pytest.approx(places[1, 1], abs=4)


def assert_framed(portrait: Portrait) -> None:
    """The picture is framed around the face."""
    side = len(portrait.picture)
    assert_placed(eyes_and_mouth(portrait), UNIT * side, np.array(MIDDLE) * side)
    assert_windowed(portrait)


def test_a_photograph_becomes_a_portrait(photo: Picture) -> None:
    portrait = prepare_portrait(photo, 384)
    assert portrait.picture.shape == (384, 384, 3)
    assert portrait.window.shape == (WINDOW_SIDE, WINDOW_SIDE, 3)
    assert {portrait.picture.dtype, portrait.window.dtype} == {np.dtype(np.uint8)}
    assert portrait.person.shape == (384, 384)
    assert portrait.cover.shape == (64, 64)
    assert portrait.landmarks.points.shape == (468, 3)
    assert portrait.mouth_xy.shape == (2,)
    assert portrait.eyes_xy.shape == (4,)
    assert {portrait.person.dtype, portrait.cover.dtype, portrait.eyes_xy.dtype} == {
        np.dtype(np.float32)
    }
    assert_windowed(portrait)
    assert [limit.code for limit in portrait.report.limits] == ["mouth_open"], "she smiles"


def test_the_person_is_head_and_shoulders_and_not_the_background(photo: Picture) -> None:
    person = prepare_portrait(photo[:, 20:], 256).person
    assert person.min() >= 0
    assert person.max() <= 1
    x, y = prepare_portrait(photo[:, 20:], 256).mouth_xy.astype(int)
    assert person[y - 60 : y + 20, x - 20 : x + 20].min() > 0.9
    assert person[5:60, :8].max() < 0.1
    assert person[5:60, -8:].max() < 0.1


def around_the_mouth(picture: Picture) -> NDArray[np.bool_]:
    """All but the lower face, whose teeth are hidden."""
    found = find_face(picture)
    (left, top), (right, bottom) = found.lips.min(0) - 5, found.lips.max(0) + 5
    bottom += found.unit
    kept = np.ones(picture.shape[:2], bool)
    kept[int(top) - 20 : int(bottom), int(left) : int(right)] = False
    return kept


def test_a_square_picture_keeps_its_framing(photo: Picture) -> None:
    portrait = prepare_portrait(photo, 320)
    kept = around_the_mouth(photo)
    assert kept.mean() > 0.9
    assert np.array_equal(portrait.picture[kept], photo[kept])


def test_a_nearly_square_picture_loses_its_longer_ends(photo: Picture) -> None:
    portrait = prepare_portrait(np.ascontiguousarray(photo[:, 10:-10]), 300)
    kept = around_the_mouth(photo)[10:-10, 10:-10]
    assert np.array_equal(portrait.picture[kept], photo[10:-10, 10:-10][kept])


def test_the_window_is_cut_from_the_given_picture_not_from_the_frame(photo: Picture) -> None:
    large = resized(photo, 2.0)
    small, usual = prepare_portrait(large, 128), prepare_portrait(large, 512)
    assert np.array_equal(small.window, usual.window)
    assert np.allclose(small.mouth_xy * 4, usual.mouth_xy, atol=0.5)


def test_the_cover_is_the_face_away_from_the_rim(photo: Picture) -> None:
    cover = prepare_portrait(photo).cover
    assert 0 <= cover.min() <= cover.max() <= 1
    assert cover[20:50, 24:40].min() > 0.9
    for rim in (cover[0], cover[-1], cover[:, 0], cover[:, -1]):
        assert rim.max() < 0.02


@pytest.mark.parametrize("factor", [0.7, 2.0, 9.0])
def test_size_does_not_change_the_framing(photo: Picture, factor: float) -> None:
    small, usual = prepare_portrait(resized(photo, factor)), prepare_portrait(photo)
    assert np.allclose(small.eyes_xy, usual.eyes_xy, atol=4)
    difference = np.abs(small.picture.astype(float) - usual.picture).mean()
    assert difference < 8


def test_a_face_far_away_in_a_wide_picture_is_found(photo: Picture) -> None:
    wide = np.full((700, 2300, 3), 90, np.uint8)
    wide[300:620, 1900:2220] = photo
    assert_framed(prepare_portrait(wide))


def test_grey_pictures_and_mirrored_ones_are_fine(photo: Picture) -> None:
    grey = np.repeat(photo.mean(2, keepdims=True).astype(np.uint8), 3, 2)
    assert_windowed(prepare_portrait(grey))
    assert_windowed(prepare_portrait(np.ascontiguousarray(photo[:, ::-1])))


def test_a_tight_picture_is_filled_in_with_a_warning(photo: Picture) -> None:
    tight = np.ascontiguousarray(photo[40:190, 95:222])
    portrait = prepare_portrait(tight)
    assert_framed(portrait)
    assert any("filled in" in warning for warning in portrait.warnings)


def test_a_magnified_face_brings_a_warning(photo: Picture) -> None:
    portrait = prepare_portrait(resized(photo, 0.75))
    assert any("soft" in warning for warning in portrait.warnings)


def test_a_tilted_head_brings_a_warning(photo: Picture) -> None:
    assert any("tilted" in warning for warning in prepare_portrait(turned(photo, 16)).warnings)


@pytest.mark.parametrize("degrees", [-45, 45, 90])
def test_pictures_lying_on_their_side_are_refused(photo: Picture, degrees: int) -> None:
    assert refusal(turned(photo, degrees)) == "face_turned"


def test_a_picture_upside_down_is_refused(photo: Picture) -> None:
    assert refusal(np.ascontiguousarray(photo[::-1, ::-1])) in ("face_turned", "no_face")


def test_noise_and_blank_pictures_hold_no_face() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (400, 300, 3), dtype=np.uint8)
    assert refusal(noise) == "no_face"
    assert refusal(np.full((1200, 900, 3), 200, np.uint8)) == "no_face"


def test_a_much_smaller_second_face_is_not_taken(photo: Picture) -> None:
    both = np.full((480, 800, 3), 90, np.uint8)
    both[:, :480] = resized(photo, 1.5)
    both[:160, 560:720] = resized(photo, 0.5)
    assert_framed(prepare_portrait(both))


def test_a_tiny_face_is_refused(photo: Picture) -> None:
    assert refusal(resized(photo, 0.35)) == "face_too_small"


def test_small_and_misshapen_pictures_are_refused(photo: Picture) -> None:
    assert refusal(np.ascontiguousarray(photo[:50])) == "image_too_small"
    assert refusal(photo[..., 0]) == "bad_image"


def test_detection_and_landmarks_agree(photo: Picture) -> None:
    (face,) = detect_faces(photo)
    assert face.score > 0.8
    marks = locate_landmarks(photo, face)
    assert marks.points.shape == (468, 3)
    assert marks.presence > 0.9
    assert np.allclose(marks.eyes, face.points[:2], atol=5)
    assert np.allclose(marks.mouth, face.points[3], atol=8)
    assert abs(marks.yaw) < 0.15
    assert abs(marks.roll) < 0.15


def test_the_pose_follows_the_picture(photo: Picture) -> None:
    """Mirroring changes the sign of yaw and roll, turning changes roll alone."""
    mirrored = np.ascontiguousarray(photo[:, ::-1])
    one, other = (locate_landmarks(p, detect_faces(p)[0]) for p in (photo, mirrored))
    assert one.yaw == pytest.approx(-other.yaw, abs=0.1)
    assert one.roll == pytest.approx(-other.roll, abs=0.05)
    tilted = turned(photo, -15)
    assert locate_landmarks(tilted, detect_faces(tilted)[0]).roll == pytest.approx(
        one.roll + np.radians(15), abs=0.06
    )


def test_segmentation_has_the_size_of_the_picture(photo: Picture) -> None:
    alpha = segment(np.ascontiguousarray(photo[:, :200]))
    assert alpha.shape == (320, 200)
    assert 0 <= alpha.min() <= alpha.max() <= 1


def test_damaged_networks_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    networks._session.cache_clear()
    monkeypatch.setattr(networks, "FOLDER", tmp_path)
    for network in networks.Network:
        (tmp_path / network.value[0]).write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="SHA-256"):
        prepare_portrait(np.zeros((100, 100, 3), np.uint8))


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (1280, 720), (720, 1280)])
def test_other_aspects_show_what_the_picture_has(photo: Picture, size: tuple[int, int]) -> None:
    portrait = prepare_portrait(photo, size)
    height, width = size
    assert portrait.picture.shape == (*size, 3) and portrait.person.shape == size
    eyes = portrait.eyes_xy.reshape(2, 2).mean(0)
    unit = float(np.linalg.norm(portrait.mouth_xy - eyes)) / min(size)
    assert UNIT - 0.001 <= unit <= LARGEST_UNIT["wide" if width > height else "tall"] + 0.001
    assert 0.2 < eyes[1] / height < 0.55
    assert 0.3 < eyes[0] / width < 0.7
    if max(size) == 640:
        assert portrait.report.beyond_picture == 0
    x, y = portrait.mouth_xy.astype(int)
    assert portrait.person[y, x] > 0.9


def test_a_picture_of_the_wanted_aspect_keeps_its_framing(photo: Picture) -> None:
    tall = np.ascontiguousarray(photo[:, len(photo) // 8 : -len(photo) // 8])
    portrait = prepare_portrait(tall, (len(tall) // 2 * 2, tall.shape[1] // 2 * 2))
    assert np.abs(portrait.picture.astype(int) - tall).mean() < 4
