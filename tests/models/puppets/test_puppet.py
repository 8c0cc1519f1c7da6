"""Tests a puppet against the landmark network, and the clip that is written of it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.dataset.clip_files import write_audio
from models.dataset.clips import FRAME_SAMPLES, load_clip
from models.face.geometry import cut
from models.face.landmarks import INNER_LIPS, Landmarks, steady_landmarks
from models.face.portrait import find_face
from models.face.texture import LUMA
from models.face.window import MIDDLE, SIDE, face_window
from models.io.image import load_image
from models.mini.motion import HEAD, MOTION, MOUTH_UNITS

pytest.importorskip("moderngl", reason="puppets need the extra `synth`")
pytest.importorskip("scipy", reason="puppets need the extra `synth`")

from models.puppets.clip_writer import PhotoClipPlan, clip_folder, write_clip  # noqa: E402
from models.puppets.portraits import PortraitFile, find_portrait  # noqa: E402
from models.puppets.puppet import Frame, Puppet  # noqa: E402

pytestmark = pytest.mark.unit

AVATARS = Path(__file__).parents[3] / "models" / "weights" / "avatars"
FRAMES, FIRST = 6, 3
UPPER, LOWER, OUTER_EYES = 13, 14, (33, 263)


def make_puppet(name: str) -> Puppet:
    """A bundled avatar as a puppet; the test is skipped where nothing can be drawn."""
    picture = load_image(AVATARS / f"{name}.jpg")
    try:
        return Puppet(picture, steady_landmarks(picture, find_face(picture)))
    except RuntimeError as error:
        pytest.skip(f"NOT RUN: {error}")


@pytest.fixture(scope="module")
def closed() -> Puppet:
    """A person whose portrait shows closed lips."""
    return make_puppet("ada")


def pose(puppet: Puppet, **values: float) -> Frame:
    """A frame with some columns of the tracks set."""
    mouth, motion = np.zeros(len(MOUTH_UNITS)), np.zeros(len(MOTION))
    for name, value in values.items():
        track, names = (mouth, MOUTH_UNITS) if name in MOUTH_UNITS else (motion, MOTION)
        track[names.index(name)] = value
    return puppet.frame(mouth, motion)


def seen(frame: Frame) -> Landmarks:
    """Landmarks that the network finds in a frame."""
    return steady_landmarks(frame.rgb, find_face(frame.rgb))


def opening(frame: Frame) -> float:
    """The lips' gap as the network sees it, a share of the distance between the eyes' corners."""
    return opening_of(frame.rgb)


def opening_of(window: NDArray[np.uint8]) -> float:
    """The same of a face window."""
    points = steady_landmarks(window, find_face(window)).points[:, :2]
    gap = np.linalg.norm(points[UPPER] - points[LOWER])
    return float(gap / np.linalg.norm(points[OUTER_EYES[0]] - points[OUTER_EYES[1]]))


def test_rest_is_the_window_of_the_portrait(closed: Puppet) -> None:
    rest = pose(closed)
    np.testing.assert_array_equal(rest.rgb, closed.neutral)
    assert rest.rgb.shape == (256, 256, 3)
    np.testing.assert_allclose((rest.eyes.reshape(2, 2).mean(0) + rest.mouth) / 2, MIDDLE, atol=2)
    found = seen(rest)
    assert np.linalg.norm(found.mouth - rest.mouth) < 3
    assert np.linalg.norm(found.eyes.reshape(4) - rest.eyes) < 4


def test_the_opening_follows_the_jaw(closed: Puppet) -> None:
    openings = [opening(pose(closed, jawOpen=value)) for value in (0.0, 0.15, 0.3, 0.45, 0.6)]
    assert np.all(np.diff(openings) > 0.01), openings
    assert openings[0] < 0.04


def test_only_what_is_told_moves(closed: Puppet) -> None:
    spoken = np.abs(pose(closed, jawOpen=0.4).rgb.astype(int) - closed.neutral).max(2) > 12
    blink = np.abs(pose(closed, blink=1.0).rgb.astype(int) - closed.neutral).max(2) > 12
    rest = pose(closed)
    assert np.flatnonzero(spoken.any(1)).min() > rest.eyes[1] + 15
    assert np.flatnonzero(blink.any(1)).max() < rest.mouth[1] - 30
    np.testing.assert_array_equal(pose(closed, yaw=0.2, pitch=0.1).rgb, closed.neutral)


def test_parted_lips_close_at_rest() -> None:
    parted = make_puppet("pia")
    assert parted.mouth.parted
    picture = load_image(AVATARS / "pia.jpg")
    window = face_window(steady_landmarks(picture, find_face(picture)))
    shown = cut(picture, window, SIDE, "edge")
    apart, together = opening_of(shown), opening(pose(parted))
    assert together < 0.05 < apart


def test_a_turned_smile_is_not_black_at_its_corners() -> None:
    frame = pose(make_puppet("pia"), jawOpen=0.3, mouthSmile=0.4, mouthUpperUp=0.3)
    upper, lower = (frame.marks[list(lip)] for lip in INNER_LIPS)
    outline = np.round(np.concatenate([upper, lower[::-1]])).astype(np.int32)
    inside = cv2.fillPoly(np.zeros((SIDE, SIDE), np.uint8), [outline], (1,)) > 0
    assert (frame.rgb[inside] @ LUMA).min() > 8


def test_writes_a_clip_that_can_be_read(tmp_path: Path, closed: Puppet) -> None:
    rng = np.random.default_rng(1)
    recording, length = tmp_path / "speech" / "004", FRAMES + 2 * FIRST
    recording.mkdir(parents=True)
    noise = rng.uniform(-0.5, 0.5, length * FRAME_SAMPLES).astype(np.float32)
    write_audio(recording / "audio.wav", noise)
    track = rng.uniform(0, 0.3, (length, len(MOUTH_UNITS))).astype(np.float32)
    np.save(recording / "mouth.npy", track)
    spoken = {
        "voice": "af_heart",
        "speed": 1.0,
        "sentences": [{"text": "Hm.", "start": 0.2, "end": 0.3}],
        "phonemes": [["m", 0.0, 0.1], ["m", 0.2, 0.3]],
    }
    (recording / "speech.json").write_text(json.dumps(spoken), encoding="utf-8")
    source = PortraitFile(5, AVATARS / "ada.jpg", "train")
    plan = PhotoClipPlan(12, source, 0, recording, FIRST, FRAMES)
    counted: list[int] = []
    portrait = find_portrait(source)
    write_clip(plan, portrait, tmp_path, lambda: counted.append(1))
    assert len(counted) == FRAMES
    clip = load_clip(clip_folder(tmp_path, plan))
    assert (clip.name, clip.frames) == ("0012", FRAMES)
    np.testing.assert_array_equal(clip.mouth, track[FIRST : FIRST + FRAMES])
    section = noise[FIRST * FRAME_SAMPLES : (FIRST + FRAMES) * FRAME_SAMPLES]
    np.testing.assert_allclose(clip.audio, section, atol=2 / 32768)
    assert not clip.motion[:, :HEAD].any()
    assert clip.meta["recording"] == "004" and clip.meta["identity_seed"] == 5
    assert clip.portrait.shape == portrait.picture.shape
    eyes = clip.window[:, :2] @ portrait.landmarks.eyes.T + clip.window[:, 2:]
    np.testing.assert_allclose(eyes.T.reshape(4), clip.eyes_xy[0], atol=0.5)
    assert clip.cover[40, 32] == 255 and clip.cover[0].max() < 5
    said = json.loads((clip.path / "speech.json").read_text(encoding="utf-8"))
    assert said["phonemes"] == [["m", 0.08, 0.18]]
    assert said["sentences"] == [{"text": "Hm.", "start": 0.08, "end": 0.18}]
