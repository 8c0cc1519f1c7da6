"""Portraits without truth: a puppet that opens its mouth, and ``mini`` that is asked to."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from models.commands.generator import load_diffusion_generator
from models.dataset.clips import Clip, load_clip
from models.evaluation.joined_speech import join_speech
from models.evaluation.portraits import (
    REST,
    evaluate_portraits,
    list_pictures,
    resting_skin,
)
from models.evaluation.speaking import Asked, Speaker
from models.evaluation.tasks import EvalContext
from models.face.portrait import prepare_portrait
from models.io.image import load_image
from models.lightning.plan import parse
from models.mini.motion import EXPRESSION, MOUTH_UNITS
from models.mini.pipeline import MiniIdentity, MiniStream
from models.options import ModelOptions
from models.pipeline import DiffusionGenerator
from tests.support.puppet import PHOTO, PuppetGenerator, write_clip
from tests.support.random_mini import random_mini

pytestmark = pytest.mark.unit

Mini = DiffusionGenerator[MiniIdentity, MiniStream]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Two seconds of babble."""
    data = tmp_path_factory.mktemp("data")
    return load_clip(write_clip(data, "900", "held_out", frames=50))


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Mini:
    """``mini`` with random weights."""
    folder = random_mini(tmp_path_factory.mktemp("weights"), parse("2:0+dfa"))
    return load_diffusion_generator(ModelOptions(weights=str(folder), threads=1))


def test_a_puppet_opens_its_mouth_in_time(clip: Clip) -> None:
    context = EvalContext(PuppetGenerator(), None, 2.0, None, against=PuppetGenerator(late=2))
    found = evaluate_portraits(context, [PHOTO], [clip])
    now, late = (found.metrics[column][PHOTO.name] for column in ("generated", "against"))
    assert now["opening_correlation_true"] > 0.8
    assert now["sync_offset_frames"] == pytest.approx(0, abs=0.5)
    assert late["sync_offset_frames"] == pytest.approx(2, abs=0.6)
    assert now["closure_percent"] == 100
    assert now["sharpness_rest_percent"] == pytest.approx(100, abs=4)  # its lip leaves the box
    assert now["head_yaw_sd"] < 2  # it rests, but for what landmarks take for movement
    for unknown in ("opening_correlation_heard", "flicker", "head_yaw_percent"):
        assert math.isnan(now[unknown]), unknown
    assert not found.refused


def test_pictures_without_a_usable_face_are_refused_with_a_reason(
    clip: Clip, tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "LICENCE").write_text("no picture either")
    files = list_pictures(tmp_path)
    assert [path.name for path in files] == ["broken.jpg"]
    found = evaluate_portraits(EvalContext(PuppetGenerator(), None, 1.0, None), files, [clip])
    assert not found.metrics
    assert found.refused["broken.jpg"].code == "bad_image"


def test_mini_says_what_it_was_asked_and_rests_its_head(mini: Mini, clip: Clip) -> None:
    identity = mini.prepare(load_image(PHOTO))
    sound = join_speech([clip], 10).sound
    alive = Speaker(mini, identity, sound, seed=3)
    still = Speaker(mini, identity, sound, seed=3, still=True)
    assert alive.asked() is None
    frames = [np.concatenate(list(one.chunks())) for one in (alive, still)]
    moving, resting = alive.asked(), still.asked()
    assert moving is not None and resting is not None
    assert frames[0].shape == (10, 512, 512, 3)
    assert moving.mouth.shape == (10, len(MOUTH_UNITS))
    assert np.abs(moving.head).max() > 0.005
    assert not resting.head.any()
    assert np.array_equal(moving.mouth, resting.mouth)
    assert np.array_equal(moving.expression, resting.expression)
    corner = np.s_[:, :40, :40]  # background, far from the face
    assert (frames[1][corner] == frames[1][0][corner[1:]]).all()


def test_skin_rests_where_no_unit_moves_it(
    mini: Mini,
) -> None:
    identity = mini.prepare(load_image(PHOTO))
    mouth = np.zeros((3, len(MOUTH_UNITS)), np.float32)
    mouth[1:, MOUTH_UNITS.index("jawOpen")] = 0.5
    asked = Asked(mouth, np.zeros((3, len(EXPRESSION)), np.float32), np.zeros((3, 3), np.float32))
    opens, stays = resting_skin(identity, asked, np.ones((256, 256), bool))
    portrait = prepare_portrait(load_image(PHOTO))
    eye, mouth_xy = (
        portrait.to_window.apply(xy).round().astype(int)
        for xy in (portrait.eyes_xy[:2], portrait.mouth_xy)
    )
    assert not opens[eye[1], eye[0]] and not stays[eye[1], eye[0]]
    assert not opens[mouth_xy[1] + 12, mouth_xy[0]] and stays[mouth_xy[1] + 12, mouth_xy[0]]
    assert 0.2 < opens.sum() / stays.sum() < 0.9
    assert REST > 0
