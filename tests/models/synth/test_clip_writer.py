"""Tests the clips of rendered heads: how heads are turned, and what a written clip holds."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.dataset.clips import load_clip
from models.face.window import MIDDLE, UNIT
from models.mini.motion import HEAD

pytest.importorskip("moderngl", reason="the renderer needs the extra `synth`")
pytest.importorskip("OpenEXR", reason="the renderer needs the extra `synth`")

from models.synth.assets import open_assets  # noqa: E402
from models.synth.clip_writer import (  # noqa: E402
    MAX_PITCH,
    MAX_YAW,
    ClipWriter,
    clip_folder,
    head_pose,
    plan_clips,
    window_of,
)
from models.synth.renderer import RenderedFrame  # noqa: E402

pytestmark = pytest.mark.unit

ASSETS = os.environ.get("LIVEHEAD_SYNTH_ASSETS", "")
FRAMES = 6


def test_heads_are_turned_a_little_each_its_own_way() -> None:
    poses = np.stack([head_pose(identity) for identity in range(40)])
    assert np.all(np.abs(poses) <= (MAX_YAW, MAX_PITCH, 0))
    assert np.all(np.ptp(poses[:, :2], axis=0) > (MAX_YAW, MAX_PITCH))
    np.testing.assert_array_equal(head_pose(7), poses[7])


def test_the_window_is_placed_by_the_true_eyes_and_mouth() -> None:
    black, cover = np.zeros((512, 512, 3), np.uint8), np.zeros((128, 128), np.uint8)
    eyes, mouth = np.array([200, 230, 300, 240], np.float32), np.array([245, 330], np.float32)
    window = window_of(RenderedFrame(black, cover, mouth, eyes))
    left, right = window.apply(eyes.reshape(2, 2))
    middle, at = (left + right) / 2, window.apply(mouth)
    assert left[1] == pytest.approx(right[1])
    assert np.linalg.norm(middle - at) == pytest.approx(UNIT)
    np.testing.assert_allclose((middle + at) / 2, MIDDLE)


@pytest.mark.skipif(
    not ASSETS,
    reason="NOT RUN: clips are not written here; name their sources in LIVEHEAD_SYNTH_ASSETS",
)
def test_writes_a_clip_that_can_be_read(tmp_path: Path) -> None:
    try:
        writer = ClipWriter(open_assets(Path(ASSETS)))
    except RuntimeError as error:
        pytest.skip(f"NOT RUN: {error}")
    plan = replace(plan_clips(1, 0, 1.0, 1.0)[0], seconds=FRAMES / 25)
    counted: list[int] = []
    assert writer.write(plan, tmp_path, lambda: counted.append(1))
    assert not writer.write(plan, tmp_path, lambda: counted.append(1))
    assert len(counted) == FRAMES
    clip = load_clip(clip_folder(tmp_path, plan))
    assert (clip.frames, len(clip.mouth)) == (FRAMES, 25)
    assert not clip.motion[:, :HEAD].any()
    assert clip.portrait.shape == (512, 512, 3)
    np.testing.assert_array_equal(clip.photo, clip.neutral)
    assert np.abs(clip.eyes_xy - clip.eyes_xy[0]).max() == 0
    middle = clip.eyes_xy[0].reshape(2, 2).mean(0)
    np.testing.assert_allclose(middle, (MIDDLE[0], MIDDLE[1] - UNIT / 2), atol=4)
    assert clip.cover[int(clip.mouth_xy[0, 1] / 4), int(clip.mouth_xy[0, 0] / 4)] == 255
